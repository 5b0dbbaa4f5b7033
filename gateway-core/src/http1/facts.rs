//! What the fields of a head say about the message itself.

use http::HeaderName;

use super::HeadError;
use super::fields::{FieldLine, list};
use super::framing::{Coding, Length};

/// A field that the gateway itself reads, in one kind of message or the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Field {
    /// Any name that is none of the others.
    Other,
    /// `Accept`
    Accept,
    /// `Authorization`
    Authorization,
    /// `Connection`
    Connection,
    /// `Content-Length`
    ContentLength,
    /// `Content-Type`
    ContentType,
    /// `Cookie`
    Cookie,
    /// `Date`
    Date,
    /// `Expect`
    Expect,
    /// `Forwarded`, and all names that start with `X-Forwarded` or that somebody may take for one, because `_` stands
    /// in them for `-`.
    Forwarded,
    /// `Grpc-Timeout`
    GrpcTimeout,
    /// `Host`
    Host,
    /// `Keep-Alive`, `Proxy-Connection`, `Proxy-Authenticate`, `Proxy-Authorization`, `HTTP2-Settings`
    Hop,
    /// `Origin`
    Origin,
    /// `Set-Cookie`
    SetCookie,
    /// `TE`
    Te,
    /// `Traceparent`, `Tracestate`, `B3` and all names that start with `X-B3-`
    Trace,
    /// `Trailer`
    Trailer,
    /// `Transfer-Encoding`
    TransferEncoding,
    /// `Upgrade`
    Upgrade,
    /// `User-Agent`
    UserAgent,
    /// `Via`
    Via,
    /// `X-Request-Id`
    RequestId,
}

impl Field {
    /// Which field `name` is.
    pub(super) fn of(name: &HeaderName) -> Self {
        match name.as_str() {
            "accept" => Self::Accept,
            "authorization" => Self::Authorization,
            "connection" => Self::Connection,
            "content-length" => Self::ContentLength,
            "content-type" => Self::ContentType,
            "cookie" => Self::Cookie,
            "date" => Self::Date,
            "expect" => Self::Expect,
            "grpc-timeout" => Self::GrpcTimeout,
            "host" => Self::Host,
            "http2-settings"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection" => Self::Hop,
            "origin" => Self::Origin,
            "set-cookie" => Self::SetCookie,
            "te" => Self::Te,
            "trailer" => Self::Trailer,
            "transfer-encoding" => Self::TransferEncoding,
            "upgrade" => Self::Upgrade,
            "user-agent" => Self::UserAgent,
            "via" => Self::Via,
            "x-request-id" => Self::RequestId,
            "b3" | "traceparent" | "tracestate" => Self::Trace,
            "forwarded" => Self::Forwarded,
            other => match other.as_bytes() {
                [b'x', b'-' | b'_', rest @ ..]
                    if rest.starts_with(b"forwarded")
                        || matches!(rest, b"real-ip" | b"real_ip") =>
                {
                    Self::Forwarded
                }
                [b'x', b'-', b'b', b'3', b'-', ..] => Self::Trace,
                _ => Self::Other,
            },
        }
    }
}

/// Which fields a head has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FieldSet(u32);

impl FieldSet {
    /// Whether there is a line of `field`.
    #[must_use]
    pub fn has(self, field: Field) -> bool {
        self.0 & Self::bit(field) != 0
    }

    /// Whether there is a line of one of `fields`.
    #[must_use]
    pub fn has_any(self, fields: &[Field]) -> bool {
        fields.iter().any(|&field| self.has(field))
    }

    #[inline]
    fn add(&mut self, field: Field) {
        self.0 |= Self::bit(field);
    }

    #[inline]
    const fn bit(field: Field) -> u32 {
        1 << field as u8
    }
}

/// What the fields of a head say about the message itself.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// Which fields there are.
    pub(super) fields: FieldSet,
    /// Offset and length of the `Host` value.
    pub(super) host: Option<(usize, usize)>,
    /// Whether the `Host` value is known to be well-formed.
    pub(super) host_is_authority: bool,
    /// The merged `Content-Length`.
    pub(super) length: Option<Length>,
    /// The merged `Transfer-Encoding`.
    pub(super) coding: Option<Coding>,
    /// `Connection: close`.
    pub(super) close: bool,
    /// `Connection: keep-alive`.
    pub(super) keep_alive: bool,
    /// `Connection: upgrade`.
    pub(super) upgrade_option: bool,
    /// `Connection` names a field of its own.
    pub(super) names_fields: bool,
    /// An `Upgrade` field that does not offer `h2c`.
    pub(super) upgrade: bool,
    /// An `Upgrade` field that offers `h2c`.
    pub(super) upgrade_h2c: bool,
    /// `Expect: 100-continue`.
    pub(super) expect_continue: bool,
}

impl Facts {
    /// Takes note of one field.
    #[inline]
    pub(super) fn note(&mut self, line: &FieldLine<'_>) -> Result<(), HeadError> {
        let field = line.name.field;
        self.fields.add(field);
        match field {
            Field::Host
            | Field::Expect
            | Field::Upgrade
            | Field::Connection
            | Field::ContentLength
            | Field::TransferEncoding => self.read(field, line),
            _ => Ok(()),
        }
    }

    fn read(&mut self, field: Field, line: &FieldLine<'_>) -> Result<(), HeadError> {
        let value = line.value;
        match field {
            Field::Host => {
                self.host_is_authority = line.is_authority;
                return self.note_host(line.start, value.len());
            }
            Field::Expect => {
                self.expect_continue |= value.eq_ignore_ascii_case(b"100-continue");
            }
            Field::Upgrade => self.note_upgrade(value),
            Field::Connection => self.note_connection(value),
            Field::ContentLength => self.length = Some(Length::merge(self.length, value)?),
            Field::TransferEncoding => self.coding = Some(Coding::merge(self.coding, value)?),
            _ => {}
        }
        Ok(())
    }

    /// Whether the framing fields announce a body, however they do it.
    pub(super) fn announces_body(&self) -> bool {
        self.coding.is_some() || self.length.is_some_and(|length| length.value() > 0)
    }

    fn note_host(&mut self, start: usize, len: usize) -> Result<(), HeadError> {
        match self.host.replace((start, len)) {
            None => Ok(()),
            Some(_) => Err(HeadError::DuplicateHost),
        }
    }

    fn note_connection(&mut self, value: &[u8]) {
        for option in list(value) {
            if option.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                self.upgrade_option = true;
            } else {
                self.names_fields = true;
            }
        }
    }

    fn note_upgrade(&mut self, value: &[u8]) {
        for protocol in list(value) {
            if protocol.eq_ignore_ascii_case(b"h2c") {
                self.upgrade_h2c = true;
            } else {
                self.upgrade = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::known::Name;
    use super::*;

    #[test]
    fn a_set_has_what_was_noted() {
        let mut facts = Facts::default();
        for name in [
            "Via",
            "X_Forwarded-For",
            "x-real_ip",
            "x-b3-traceid",
            "x-other",
        ] {
            let name = Name::new(HeaderName::from_bytes(name.as_bytes()).unwrap());
            let line = FieldLine {
                name: &name,
                value: b"value",
                start: 0,
                is_authority: false,
            };
            facts.note(&line).unwrap();
        }
        for field in [Field::Via, Field::Forwarded, Field::Trace, Field::Other] {
            assert!(facts.fields.has(field), "{field:?}");
        }
        assert!(!facts.fields.has(Field::Host));
        assert!(facts.fields.has_any(&[Field::Host, Field::Via]));
        assert!(!facts.fields.has_any(&[Field::Host, Field::Te]));
    }
}
