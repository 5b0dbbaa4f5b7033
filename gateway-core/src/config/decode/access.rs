//! Serde's views of lists, mappings and enumerations.

use serde::{
    Deserializer,
    de::{
        DeserializeSeed, EnumAccess, Error, Expected, IntoDeserializer, MapAccess, SeqAccess,
        Unexpected, VariantAccess, Visitor,
    },
    forward_to_deserialize_any,
};

use super::{NodeDe, Session, de::StandIn};
use crate::config::{
    fault::Fault,
    tree::{Entry, NodeId},
};

/// What a visitor says it expects.
pub(super) fn expectation<'de, V: Visitor<'de>>(visitor: &V) -> String {
    let expected: &dyn Expected = visitor;
    expected.to_string()
}

/// The elements of a list that are not left out.
pub(super) struct Elements<'s> {
    session: Option<&'s Session<'s>>,
    rest: std::slice::Iter<'s, NodeId>,
}

impl<'s> Elements<'s> {
    pub(super) fn new(session: &'s Session<'s>, items: &'s [NodeId]) -> Self {
        Self {
            session: Some(session),
            rest: items.iter(),
        }
    }

    pub(super) fn none() -> Self {
        Self {
            session: None,
            rest: [].iter(),
        }
    }

    pub(super) fn is_exhausted(&self) -> bool {
        self.rest.as_slice().is_empty()
    }
}

impl<'de> SeqAccess<'de> for Elements<'_> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Fault> {
        let Some(session) = self.session else {
            return Ok(None);
        };
        match self.rest.find(|id| !session.is_skipped(**id)) {
            // A fault without a place was raised around the element, not inside of it.
            Some(id) => seed
                .deserialize(NodeDe::new(session, *id))
                .map(Some)
                .map_err(|fault| fault.at(*id)),
            None => Ok(None),
        }
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}

/// The entries of a mapping that are not left out, then something that stands in for keys that are missing.
pub(super) struct Entries<'s> {
    session: &'s Session<'s>,
    map: NodeId,
    /// Name and keys of the struct that is being read.
    keys: Option<(&'static str, &'static [&'static str])>,
    rest: std::slice::Iter<'s, Entry>,
    assumed: std::vec::IntoIter<&'static str>,
    value: Option<NodeId>,
}

impl<'s> Entries<'s> {
    pub(super) fn new(
        session: &'s Session<'s>,
        map: NodeId,
        keys: Option<(&'static str, &'static [&'static str])>,
    ) -> Self {
        let rest = session.node(map).raw_entries().iter();
        Self {
            session,
            map,
            keys,
            rest,
            assumed: session.assumed(map).into_iter(),
            value: None,
        }
    }

    /// Whether nothing is left; takes an entry to find out.
    pub(super) fn ends(mut self) -> bool {
        self.next().is_none()
    }

    fn next(&mut self) -> Option<&'s Entry> {
        let (session, map, keys) = (self.session, self.map, self.keys);
        self.rest.find(|entry| {
            let passed = session.is_skipped(entry.value) || session.is_hidden(map, entry);
            !passed && keys.is_none_or(|(name, known)| !session.refuses(name, known, entry))
        })
    }
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Fault> {
        if let Some(entry) = self.next() {
            self.value = Some(entry.value);
            let key = self.session.key(entry);
            let key = seed.deserialize(KeyDe { key });
            return key.map(Some).map_err(|fault| {
                if let (crate::config::fault::Cause::UnknownKey { known, .. }, Some((name, keys))) =
                    (fault.cause(), self.keys)
                    && std::ptr::eq(*known, keys)
                {
                    self.session.learn_strict(name, keys);
                }
                fault.at_key(entry.value)
            });
        }
        self.value = None;
        match self.assumed.next() {
            Some(key) => seed
                .deserialize(KeyDe { key })
                .map(Some)
                .map_err(|_| Fault::consequence().at(self.map)),
            None => Ok(None),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        match self.value.take() {
            Some(id) => seed
                .deserialize(NodeDe::new(self.session, id))
                .map_err(|fault| fault.at(id)),
            None => seed
                .deserialize(StandIn::new(self.session, self.map))
                .map_err(|_| Fault::consequence().at(self.map)),
        }
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}

/// The key of an entry: a text, or what a type makes of it.
struct KeyDe<'s> {
    key: &'s str,
}

macro_rules! numeric_keys {
    ($($method:ident: $number:ty => $visit:ident;)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            match self.key.parse::<$number>() {
                Ok(number) => visitor.$visit(number),
                Err(_) => Err(Fault::invalid_type(Unexpected::Str(self.key), &visitor)),
            }
        })*
    };
}

impl<'de> Deserializer<'de> for KeyDe<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_str(self.key)
    }

    numeric_keys! {
        deserialize_i8: i64 => visit_i64;
        deserialize_i16: i64 => visit_i64;
        deserialize_i32: i64 => visit_i64;
        deserialize_i64: i64 => visit_i64;
        deserialize_u8: u64 => visit_u64;
        deserialize_u16: u64 => visit_u64;
        deserialize_u32: u64 => visit_u64;
        deserialize_u64: u64 => visit_u64;
        deserialize_bool: bool => visit_bool;
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_enum(self.key.into_deserializer())
    }

    forward_to_deserialize_any! {
        i128 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct
        identifier ignored_any
    }
}

/// `{ variant: content }`.
pub(in crate::config) struct EnumChoice<'s> {
    session: &'s Session<'s>,
    entry: &'s Entry,
}

impl<'s> EnumChoice<'s> {
    pub(in crate::config) fn new(session: &'s Session<'s>, entry: &'s Entry) -> Self {
        Self { session, entry }
    }

    fn content(&self) -> NodeDe<'s> {
        NodeDe::new(self.session, self.entry.value)
    }
}

impl<'de> EnumAccess<'de> for EnumChoice<'_> {
    type Error = Fault;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Fault> {
        let variant = seed.deserialize(KeyDe {
            key: &self.entry.key,
        });
        Ok((
            variant.map_err(|fault| fault.at_key(self.entry.value))?,
            self,
        ))
    }
}

impl<'de> VariantAccess<'de> for EnumChoice<'_> {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        serde::Deserialize::deserialize(self.content())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Fault> {
        seed.deserialize(self.content())
            .map_err(|fault| fault.at(self.entry.value))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Fault> {
        self.content().deserialize_tuple(len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.content()
            .deserialize_struct("variant", fields, visitor)
    }
}
