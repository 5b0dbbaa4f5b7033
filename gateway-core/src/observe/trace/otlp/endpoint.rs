//! The address of the collector.

use std::io;

use http::Uri;
use http::uri::{Authority, Scheme};

/// Why an exporter cannot be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OtlpError {
    /// The endpoint is no absolute URL with a host.
    #[error("`{endpoint}` is not an address like http://host:4318")]
    Endpoint {
        /// What was configured.
        endpoint: String,
    },
    /// The endpoint asks for TLS.
    #[error("cannot export to `{endpoint}`: only http:// endpoints are supported")]
    Https {
        /// What was configured.
        endpoint: String,
    },
    /// The thread or its runtime did not start.
    #[error("starting the span exporter")]
    Start(#[source] io::Error),
}

/// Where spans are posted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) authority: Authority,
    pub(super) path: String,
}

impl Endpoint {
    /// Reads a base URL; `/v1/traces` is appended unless the path ends so, as the OTLP specification
    /// has it for a base endpoint.
    pub(super) fn parse(text: &str) -> Result<Self, OtlpError> {
        let wrong = || OtlpError::Endpoint {
            endpoint: text.into(),
        };
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        if uri.scheme() == Some(&Scheme::HTTPS) {
            return Err(OtlpError::Https {
                endpoint: text.into(),
            });
        }
        let plain = uri.scheme() == Some(&Scheme::HTTP) && uri.query().is_none();
        let authority = uri
            .authority()
            .filter(|authority| plain && !authority.as_str().contains('@'))
            .ok_or_else(wrong)?;
        let base = uri.path().trim_end_matches('/');
        let path = if base.ends_with("/v1/traces") {
            base.into()
        } else {
            format!("{base}/v1/traces")
        };
        Ok(Self {
            authority: authority.clone(),
            path,
        })
    }

    /// Host without the brackets of an IPv6 address.
    pub(super) fn host(&self) -> &str {
        let host = self.authority.host();
        host.strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host)
    }

    pub(super) fn port(&self) -> u16 {
        self.authority.port_u16().unwrap_or(80)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signal_path_is_appended_once() {
        for (text, host, port, path) in [
            ("http://c:4318", "c", 4318, "/v1/traces"),
            ("http://c:4318/", "c", 4318, "/v1/traces"),
            ("http://c/otel/", "c", 80, "/otel/v1/traces"),
            ("http://c/v1/traces", "c", 80, "/v1/traces"),
            ("http://[::1]:4318", "::1", 4318, "/v1/traces"),
        ] {
            let endpoint = Endpoint::parse(text).unwrap();
            assert_eq!(
                (endpoint.host(), endpoint.port(), endpoint.path.as_str()),
                (host, port, path),
                "{text}"
            );
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_a_reason() {
        let https = Endpoint::parse("https://c:4318").unwrap_err();
        assert!(https.to_string().contains("only http://"), "{https}");
        for text in [
            "",
            "c:4318",
            "grpc://c:4317",
            "http://u@c",
            "http://c/?x=1",
            "/v1/traces",
        ] {
            let error = Endpoint::parse(text).unwrap_err();
            assert!(
                matches!(error, OtlpError::Endpoint { .. }),
                "{text}: {error}"
            );
        }
    }
}
