//! What the fields of a head say about the message itself.

use http::HeaderName;

use super::HeadError;
use super::fields::{FieldLine, list};
use super::framing::{Coding, Length};

/// A field that says something about the message itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    /// Any name that is none of the others.
    Other,
    /// `Connection`
    Connection,
    /// `Content-Length`
    ContentLength,
    /// `Expect`
    Expect,
    /// `Host`
    Host,
    /// `TE`
    Te,
    /// `Transfer-Encoding`
    TransferEncoding,
    /// `Upgrade`
    Upgrade,
}

impl Field {
    /// Which field `name` is.
    pub(super) fn of(name: &HeaderName) -> Self {
        match name.as_str() {
            "connection" => Self::Connection,
            "content-length" => Self::ContentLength,
            "expect" => Self::Expect,
            "host" => Self::Host,
            "te" => Self::Te,
            "transfer-encoding" => Self::TransferEncoding,
            "upgrade" => Self::Upgrade,
            _ => Self::Other,
        }
    }
}

/// What the fields of a head say about the message itself.
#[derive(Debug, Default)]
pub(super) struct Facts {
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
    /// There is a `TE` field.
    pub(super) te: bool,
}

impl Facts {
    /// Takes note of one field.
    #[inline]
    pub(super) fn note(&mut self, line: &FieldLine<'_>) -> Result<(), HeadError> {
        match line.name.field {
            Field::Other => Ok(()),
            field => self.read(field, line),
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
            Field::Te => self.te = true,
            Field::Other => {}
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
