//! The text form: the combined log format, then `key="value"` pairs.

use std::io::Write as _;

use super::civil::Civil;
use super::escape;
use super::json::write_seconds;
use super::record::AccessRecord;
use crate::observe::trace::write_hex;

/// Appends `record` as one line.
pub(super) fn write(into: &mut Vec<u8>, record: &AccessRecord<'_>, query: bool) {
    match (record.client, record.peer) {
        (Some(client), _) => {
            let _ = write!(into, "{client}");
        }
        (None, Some(peer)) => {
            let _ = write!(into, "{}", peer.ip());
        }
        (None, None) => into.push(b'-'),
    }
    into.extend_from_slice(b" - ");
    escape::word(into, record.principal.unwrap_or_default());
    into.extend_from_slice(b" [");
    Civil::new(record.time).write_common(into);
    into.extend_from_slice(b"] \"");
    escape::quoted(into, known(record.method));
    into.push(b' ');
    escape::quoted(into, known(record.path));
    if query && let Some(query) = record.query {
        into.push(b'?');
        escape::quoted(into, query);
    }
    let _ = write!(
        into,
        " {}\" {} {} \"-\" \"",
        record.protocol(),
        record.status,
        record.bytes_out
    );
    escape::quoted_bytes(into, record.user_agent.unwrap_or(b"-"));
    into.push(b'"');

    pair(into, "listener", record.listener);
    pair(into, "scheme", record.scheme);
    pair(into, "host", record.host);
    pair(into, "reason", record.reason);
    pair(into, "route", record.route.unwrap_or_default());
    pair(into, "upstream", record.upstream.unwrap_or_default());
    pair(into, "endpoint", record.endpoint.unwrap_or_default());
    let _ = write!(
        into,
        " attempts={} bytes_in={} duration=",
        record.attempts, record.bytes_in
    );
    write_seconds(into, record.duration);
    for (name, value) in [
        (" upstream_first_byte=", record.upstream_first_byte),
        (" upstream_duration=", record.upstream_duration),
    ] {
        if let Some(value) = value {
            into.extend_from_slice(name.as_bytes());
            write_seconds(into, value);
        }
    }
    pair(into, "request_id", record.request_id.unwrap_or_default());
    if let Some(id) = &record.trace_id {
        into.extend_from_slice(b" trace_id=\"");
        write_hex(into, id);
        into.push(b'"');
    }
    pair(into, "sni", record.sni.unwrap_or_default());
    pair(into, "tls_version", record.tls_version.unwrap_or_default());
    if record.retried {
        into.extend_from_slice(b" retried");
    }
    if record.aborted {
        into.extend_from_slice(b" aborted");
    }
    into.push(b'\n');
}

/// Heads that could not be parsed have neither method nor path.
fn known(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

fn pair(into: &mut Vec<u8>, name: &str, value: &str) {
    if value.is_empty() {
        return;
    }
    into.push(b' ');
    into.extend_from_slice(name.as_bytes());
    into.extend_from_slice(b"=\"");
    escape::quoted(into, value);
    into.push(b'"');
}
