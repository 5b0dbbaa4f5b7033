//! Serde's `Deserializer` over a node.

use std::cell::RefCell;

use serde::{
    Deserializer,
    de::{Error, IntoDeserializer, Unexpected, Visitor},
    forward_to_deserialize_any,
};

use super::{
    EnumChoice, Session,
    access::{Elements, Entries},
};
use crate::config::{
    fault::{Fault, one_of},
    node::Document,
    tree::{NodeId, Payload},
};

/// Name by which [`Captured`](crate::config::Captured) asks for the node itself.
pub(in crate::config) const CAPTURED: &str = "$portcullis::Captured";
/// Name by which [`Located`](crate::config::Located) asks where its value is.
pub(in crate::config) const LOCATED: &str = "$portcullis::Located";

thread_local! {
    /// Hands a node past serde's interface: set right before a visitor is called, taken first thing by it.
    static PENDING: RefCell<Option<Pending>> = const { RefCell::new(None) };
}

/// A node that is handed over.
pub(in crate::config) struct Pending {
    pub(in crate::config) document: Document,
    pub(in crate::config) id: NodeId,
    /// The value is missing; the node is the mapping that lacks it.
    pub(in crate::config) missing: bool,
}

/// The node that this crate's deserializer is handing over, if it is the one being visited.
pub(in crate::config) fn take_pending() -> Option<Pending> {
    PENDING.with_borrow_mut(Option::take)
}

/// A node being decoded.
#[derive(Clone, Copy)]
pub(in crate::config) struct NodeDe<'s> {
    session: &'s Session<'s>,
    id: NodeId,
}

impl<'s> NodeDe<'s> {
    pub(in crate::config) fn new(session: &'s Session<'s>, id: NodeId) -> Self {
        Self { session, id }
    }

    fn payload(self) -> &'s Payload {
        self.session.node(self.id).payload()
    }

    fn entries(self, keys: Option<(&'static str, &'static [&'static str])>) -> Entries<'s> {
        Entries::new(self.session, self.id, keys)
    }

    fn elements(self) -> Elements<'s> {
        Elements::new(self.session, self.session.node(self.id).raw_items())
    }

    fn mismatch(self, expected: &dyn serde::de::Expected) -> Fault {
        let found = match self.payload() {
            Payload::Null => Unexpected::Unit,
            Payload::Bool(truth) => Unexpected::Bool(*truth),
            Payload::Int(number) => Unexpected::Signed(*number),
            Payload::UInt(number) => Unexpected::Unsigned(*number),
            Payload::Float(number) => Unexpected::Float(*number),
            Payload::String(text) => Unexpected::Str(text),
            Payload::Seq(_) => Unexpected::Seq,
            Payload::Map(_) => Unexpected::Map,
        };
        Fault::invalid_type(found, expected)
    }

    fn any<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.payload() {
            Payload::Null => visitor.visit_unit(),
            Payload::Bool(truth) => visitor.visit_bool(*truth),
            Payload::Int(number) => visitor.visit_i64(*number),
            Payload::UInt(number) => visitor.visit_u64(*number),
            Payload::Float(number) => visitor.visit_f64(*number),
            Payload::String(text) => visitor.visit_str(text),
            Payload::Seq(_) => visitor.visit_seq(self.elements()),
            Payload::Map(_) => visitor.visit_map(self.entries(None)),
        }
    }

    /// A list whose positions have a meaning: one that lost an element means nothing.
    fn fixed_list<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let items = self.session.node(self.id).raw_items();
        if !matches!(self.payload(), Payload::Seq(_)) {
            return Err(self.mismatch(&visitor));
        }
        if items.iter().any(|item| self.session.is_skipped(*item)) {
            return Err(Fault::consequence());
        }
        let words = super::access::expectation(&visitor);
        let mut elements = self.elements();
        let value = visitor.visit_seq(&mut elements)?;
        if elements.is_exhausted() {
            Ok(value)
        } else {
            Err(Fault::invalid_length(items.len(), &words.as_str()))
        }
    }
}

macro_rules! through_any {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            self.any(visitor).map_err(|fault| fault.at(self.id))
        })*
    };
}

impl<'de> Deserializer<'de> for NodeDe<'_> {
    type Error = Fault;

    through_any! {
        deserialize_any deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_i128 deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64 deserialize_char deserialize_str deserialize_string
        deserialize_bytes deserialize_byte_buf deserialize_identifier deserialize_seq deserialize_map
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let result = match self.payload() {
            Payload::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        };
        result.map_err(|fault| fault.at(self.id))
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let result = match self.payload() {
            // A plugin without settings: nothing is left beside the keys that are hidden.
            Payload::Map(_) if self.entries(None).ends() => visitor.visit_unit(),
            _ => self.any(visitor),
        };
        result.map_err(|fault| fault.at(self.id))
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        if name == CAPTURED || name == LOCATED {
            let document = self.session.node(self.id).document().clone();
            PENDING.set(Some(Pending {
                document,
                id: self.id,
                missing: false,
            }));
        }
        visitor
            .visit_newtype_struct(self)
            .map_err(|fault| fault.at(self.id))
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.fixed_list(visitor).map_err(|fault| fault.at(self.id))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.fixed_list(visitor).map_err(|fault| fault.at(self.id))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let result = match self.payload() {
            Payload::Map(_) => visitor.visit_map(self.entries(Some((name, fields)))),
            // Derived structs accept lists; in a configuration file that would be a guess.
            _ => Err(self.mismatch(&visitor)),
        };
        result.map_err(|fault| fault.at(self.id))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let result = match self.payload() {
            Payload::String(name) => visitor.visit_enum((&**name).into_deserializer()),
            Payload::Map(all) => {
                let mut wrong = all
                    .iter()
                    .filter(|entry| self.session.is_skipped(entry.value));
                match &**all {
                    _ if wrong.next().is_some() => Err(Fault::consequence()),
                    [entry] => visitor.visit_enum(EnumChoice::new(self.session, entry)),
                    _ => {
                        let message =
                            format!("expected a mapping with one key, {}", one_of(variants));
                        Err(Fault::custom(format!(
                            "{message}, found {} keys",
                            all.len()
                        )))
                    }
                }
            }
            _ => Err(self.mismatch(&one_of(variants).as_str())),
        };
        result.map_err(|fault| fault.at(self.id))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }
}

/// Stands in for a value that is missing, so that the rest of its mapping is checked too. A type that cannot be
/// made from nothing ends the mapping's check instead.
pub(super) struct StandIn<'s> {
    session: &'s Session<'s>,
    /// The mapping that lacks it.
    map: NodeId,
}

impl<'s> StandIn<'s> {
    pub(super) fn new(session: &'s Session<'s>, map: NodeId) -> Self {
        Self { session, map }
    }
}

macro_rules! stand_ins {
    ($($method:ident => $visit:ident($($value:expr)?);)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            visitor.$visit($($value)?)
        })*
    };
}

fn no_entries<'de>() -> impl serde::de::MapAccess<'de, Error = Fault> {
    serde::de::value::MapDeserializer::new(std::iter::empty::<(&str, &str)>())
}

impl<'de> Deserializer<'de> for StandIn<'_> {
    type Error = Fault;

    stand_ins! {
        // A document's nothing is a unit: only here is a type of one string asked for no value at all.
        deserialize_any => visit_none();
        deserialize_bool => visit_bool(false);
        // Many numbers may not be 0.
        deserialize_i8 => visit_i64(1);
        deserialize_i16 => visit_i64(1);
        deserialize_i32 => visit_i64(1);
        deserialize_i64 => visit_i64(1);
        deserialize_u8 => visit_u64(1);
        deserialize_u16 => visit_u64(1);
        deserialize_u32 => visit_u64(1);
        deserialize_u64 => visit_u64(1);
        deserialize_f32 => visit_f64(1.0);
        deserialize_f64 => visit_f64(1.0);
        deserialize_str => visit_str("");
        deserialize_string => visit_str("");
        deserialize_option => visit_none();
        deserialize_unit => visit_unit();
        deserialize_ignored_any => visit_unit();
        deserialize_seq => visit_seq(Elements::none());
        deserialize_map => visit_map(no_entries());
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_map(no_entries())
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match variants.first() {
            Some(first) => visitor.visit_enum((*first).into_deserializer()),
            None => Err(Fault::consequence()),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        if name == CAPTURED {
            return Err(Fault::consequence());
        }
        if name == LOCATED {
            PENDING.set(Some(Pending {
                document: self.session.node(self.map).document().clone(),
                id: self.map,
                missing: true,
            }));
        }
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        i128 u128 char bytes byte_buf unit_struct tuple tuple_struct identifier
    }
}
