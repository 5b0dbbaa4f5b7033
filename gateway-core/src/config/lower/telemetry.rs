//! Logs, traces and metrics.

use http::Uri;

use crate::config::{
    diagnostic::{Diagnostic, Diagnostics},
    raw::RawConfig,
};

pub(super) fn check(raw: &RawConfig, problems: &mut Diagnostics) {
    let Some(otlp) = raw
        .tracing
        .as_ref()
        .and_then(|tracing| tracing.otlp.as_ref())
    else {
        return;
    };
    let endpoint = &otlp.endpoint;
    let sendable = endpoint
        .parse::<Uri>()
        .is_ok_and(|uri| uri.scheme_str() == Some("http") && uri.authority().is_some());
    if !sendable {
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
