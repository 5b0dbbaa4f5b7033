//! What a configuration file can say about metrics, logs and traces.

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::metrics::DEFAULT_MAX_SERIES;
use crate::config::Located;

/// The access log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AccessLogConfig {
    /// Where lines go: `stdout` (default), `stderr`, or the path of a file, which is created and
    /// appended to.
    pub path: Located<LogTarget>,
    /// How a line looks: `json` (default) or `text`.
    pub format: LogFormat,
    /// Also log the query of a request. Off by default, because queries carry secrets.
    pub query: bool,
}

/// Where the access log goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LogTarget {
    /// Standard output.
    #[default]
    Stdout,
    /// Standard error.
    Stderr,
    /// A file, created when missing and appended to.
    File(PathBuf),
}

/// How a line of the access log looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object per line.
    #[default]
    Json,
    /// The combined log format, then `key="value"` pairs.
    Text,
}

/// Request tracing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TracingConfig {
    /// Which headers carry the trace: `w3c` (default), `b3`, `b3multi`, or `both` (W3C and single B3).
    pub propagation: PropagationConfig,
    /// Share of the requests without a decision of their caller that are traced, 0 to 1. Default 1.
    #[serde(deserialize_with = "ratio")]
    #[schemars(range(min = 0, max = 1))]
    pub sample_ratio: f64,
    /// Where finished spans are sent; without it traces are only passed on. Needs the feature `otlp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otlp: Option<OtlpConfig>,
}

impl Default for TracingConfig {
    fn default() -> Self {
        Self {
            propagation: PropagationConfig::default(),
            sample_ratio: 1.0,
            otlp: None,
        }
    }
}

/// Which headers carry the trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PropagationConfig {
    /// `traceparent` and `tracestate`.
    #[default]
    W3c,
    /// One `b3` header.
    B3,
    /// The `x-b3-*` headers.
    B3Multi,
    /// `traceparent` and `b3`.
    Both,
}

/// Sending spans to an OpenTelemetry collector over HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OtlpConfig {
    /// Base address of the collector, such as `http://127.0.0.1:4318`; `/v1/traces` is appended unless
    /// the path ends so. Only `http://` for now.
    pub endpoint: Located<String>,
    /// What the spans' `service.name` says. Default `portcullis`.
    #[serde(default = "default_service_name")]
    pub service_name: String,
}

/// The metrics registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MetricsConfig {
    /// Most series of one metric; label sets beyond it share a series whose labels say `other`.
    /// Default 10000. Takes effect at start.
    pub max_series: NonZeroUsize,
}

impl Default for MetricsConfig {
    fn default() -> Self {
        Self {
            max_series: NonZeroUsize::new(DEFAULT_MAX_SERIES).unwrap_or(NonZeroUsize::MIN),
        }
    }
}

impl fmt::Display for LogTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("stdout"),
            Self::Stderr => f.write_str("stderr"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

impl Serialize for LogTarget {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for LogTarget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.as_str() {
            "stdout" => Ok(Self::Stdout),
            "stderr" => Ok(Self::Stderr),
            "" => Err(serde::de::Error::custom(
                "expected `stdout`, `stderr` or the path of a file",
            )),
            _ => Ok(Self::File(text.into())),
        }
    }
}

impl JsonSchema for LogTarget {
    fn schema_name() -> Cow<'static, str> {
        "LogTarget".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "minLength": 1,
            "description": "`stdout`, `stderr`, or the path of a file"
        })
    }
}

fn default_service_name() -> String {
    "portcullis".into()
}

fn ratio<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let ratio = f64::deserialize(deserializer)?;
    if (0.0..=1.0).contains(&ratio) {
        Ok(ratio)
    } else {
        Err(serde::de::Error::custom(format_args!(
            "sample_ratio must lie between 0 and 1, not {ratio}"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{from_value, json, to_value};

    #[test]
    fn an_empty_section_means_the_documented_defaults() {
        let log: AccessLogConfig = from_value(json!({})).unwrap();
        assert_eq!(*log.path, LogTarget::Stdout);
        assert_eq!(log.format, LogFormat::Json);
        assert!(!log.query);
        let tracing: TracingConfig = from_value(json!({})).unwrap();
        assert_eq!(tracing, TracingConfig::default());
        let metrics: MetricsConfig = from_value(json!({})).unwrap();
        assert_eq!(metrics.max_series.get(), 10_000);
        let otlp: OtlpConfig = from_value(json!({"endpoint": "http://c:4318"})).unwrap();
        assert_eq!(otlp.service_name, "portcullis");
    }

    #[test]
    fn what_is_written_reads_back_the_same() {
        let log = json!({"path": "/var/log/access.log", "format": "text", "query": true});
        let read: AccessLogConfig = from_value(log.clone()).unwrap();
        assert_eq!(to_value(&read).unwrap(), log);
        let tracing = json!({
            "propagation": "b3multi", "sample_ratio": 0.25,
            "otlp": {"endpoint": "http://c:4318", "service_name": "edge"}
        });
        let read: TracingConfig = from_value(tracing.clone()).unwrap();
        assert_eq!(to_value(&read).unwrap(), tracing);
    }

    #[test]
    fn mistakes_are_refused() {
        assert!(from_value::<AccessLogConfig>(json!({"file": "x"})).is_err());
        assert!(from_value::<AccessLogConfig>(json!({"path": ""})).is_err());
        assert!(from_value::<AccessLogConfig>(json!({"format": "xml"})).is_err());
        assert!(from_value::<TracingConfig>(json!({"sample_ratio": 1.5})).is_err());
        assert!(from_value::<TracingConfig>(json!({"sample_ratio": -0.1})).is_err());
        assert!(from_value::<TracingConfig>(json!({"otlp": {}})).is_err());
        assert!(from_value::<MetricsConfig>(json!({"max_series": 0})).is_err());
    }

    #[test]
    fn the_schema_knows_every_key() {
        let schema = schemars::schema_for!(TracingConfig).to_value().to_string();
        for key in ["propagation", "sample_ratio", "otlp", "maximum", "b3multi"] {
            assert!(schema.contains(key), "{key} missing in {schema}");
        }
    }
}
