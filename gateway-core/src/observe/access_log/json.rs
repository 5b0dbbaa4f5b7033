//! The JSON form: one object per line, written straight into the buffer.

use std::fmt::Display;
use std::io::Write as _;
use std::time::Duration;

use super::civil::Civil;
use super::escape;
use super::record::AccessRecord;
use crate::observe::trace::write_hex;

/// Appends `record` as one line.
pub(super) fn write(into: &mut Vec<u8>, record: &AccessRecord<'_>, query: bool) {
    into.extend_from_slice(b"{\"time\":\"");
    Civil::new(record.time).write_rfc3339(into);
    into.push(b'"');
    let mut object = Object { into };
    object.text("listener", record.listener);
    object.address("client", record.client);
    object.address("peer", record.peer);
    object.optional("principal", record.principal);
    object.text("method", record.method);
    object.text("scheme", record.scheme);
    object.text("host", record.host);
    object.text("path", record.path);
    if query {
        object.optional("query", record.query);
    }
    object.text("protocol", record.protocol());
    if record.transport.is_none() {
        object.number("status", u64::from(record.status));
    }
    object.text("reason", record.reason);
    object.optional("route", record.route);
    object.optional("upstream", record.upstream);
    object.optional("endpoint", record.endpoint);
    object.number("attempts", u64::from(record.attempts));
    object.number("bytes_in", record.bytes_in);
    object.number("bytes_out", record.bytes_out);
    object.seconds("duration", Some(record.duration));
    object.seconds("upstream_first_byte", record.upstream_first_byte);
    object.seconds("upstream_duration", record.upstream_duration);
    object.optional("request_id", record.request_id);
    if let Some(id) = &record.trace_id {
        object.key("trace_id");
        object.into.push(b'"');
        write_hex(object.into, id);
        object.into.push(b'"');
    }
    if let Some(agent) = record.user_agent {
        object.key("user_agent");
        object.into.push(b'"');
        escape::quoted_bytes(object.into, agent);
        object.into.push(b'"');
    }
    object.optional("sni", record.sni);
    object.optional("tls_version", record.tls_version);
    object.flag("retried", record.retried);
    object.flag("aborted", record.aborted);
    object.into.extend_from_slice(b"}\n");
}

/// Appends a duration in seconds with six decimals.
pub(super) fn write_seconds(into: &mut Vec<u8>, duration: Duration) {
    let _ = write!(
        into,
        "{}.{:06}",
        duration.as_secs(),
        duration.subsec_micros()
    );
}

/// The members of an object after the first.
struct Object<'b> {
    into: &'b mut Vec<u8>,
}

impl Object<'_> {
    /// `name` is ours and needs no escape.
    fn key(&mut self, name: &str) {
        self.into.extend_from_slice(b",\"");
        self.into.extend_from_slice(name.as_bytes());
        self.into.extend_from_slice(b"\":");
    }

    fn text(&mut self, name: &str, value: &str) {
        if value.is_empty() {
            return;
        }
        self.key(name);
        self.into.push(b'"');
        escape::quoted(self.into, value);
        self.into.push(b'"');
    }

    fn optional(&mut self, name: &str, value: Option<&str>) {
        self.text(name, value.unwrap_or_default());
    }

    fn address(&mut self, name: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.key(name);
            let _ = write!(self.into, "\"{value}\"");
        }
    }

    fn number(&mut self, name: &str, value: u64) {
        self.key(name);
        let _ = write!(self.into, "{value}");
    }

    fn seconds(&mut self, name: &str, value: Option<Duration>) {
        if let Some(value) = value {
            self.key(name);
            write_seconds(self.into, value);
        }
    }

    /// Written only when it is true.
    fn flag(&mut self, name: &str, value: bool) {
        if value {
            self.key(name);
            self.into.extend_from_slice(b"true");
        }
    }
}
