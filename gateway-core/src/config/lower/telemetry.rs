//! Logs, traces and metrics.

use http::Uri;

use super::findings::Findings;
use crate::config::{diagnostic::Diagnostic, raw::RawConfig};

pub(super) fn check(raw: &RawConfig, problems: &mut Findings<'_>) {
    let Some(otlp) = raw
        .tracing
        .as_ref()
        .and_then(|tracing| tracing.otlp.as_ref())
    else {
        return;
    };
    let endpoint = &otlp.endpoint;
    let sendable = endpoint.parse::<Uri>().is_ok_and(|uri| {
        let host = uri.authority();
        let plain = host.is_some_and(|host| !host.as_str().contains('@')) && uri.query().is_none();
        plain && uri.scheme_str() == Some("http")
    });
    if !sendable && !endpoint.is_missing() {
        let found = format!(
            "expected an address such as http://127.0.0.1:4318, found {:?}",
            endpoint.value
        );
        problems.push(endpoint.error(found));
    }
    if cfg!(not(feature = "otlp")) {
        let problem: Diagnostic = endpoint.warning("this build cannot send spans");
        problems.push(problem.hint("use one with the feature `otlp`"));
    }
}
