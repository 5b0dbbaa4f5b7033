//! Finished spans and who takes them.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use super::context::TraceContext;

/// Takes finished spans of sampled requests.
///
/// [`SpanSink::submit`] is called on a worker when a request ends: it must not block. A sink that cannot
/// keep up drops spans and counts them.
pub trait SpanSink: Send + Sync + 'static {
    /// Takes one span.
    fn submit(&self, span: SpanRecord);

    /// Waits until the spans taken so far are sent or dropped; `false` when `timeout` passes first. Called
    /// when the gateway ends, and may block.
    fn flush(&self, timeout: Duration) -> bool {
        let _ = timeout;
        true
    }
}

/// What a span tells: one request as the gateway saw it, or one attempt at an upstream.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SpanRecord {
    /// Low-cardinality name, such as `GET orders`.
    pub name: Cow<'static, str>,
    /// Which side of a call the span describes.
    pub kind: SpanKind,
    /// Trace, span, parent, state.
    pub context: TraceContext,
    /// When it began.
    pub start: SystemTime,
    /// When it ended.
    pub end: SystemTime,
    /// Name and value, with names of the OpenTelemetry semantic conventions where there are some.
    pub attributes: Vec<(&'static str, SpanAttribute)>,
    /// What came of it.
    pub status: SpanStatus,
}

/// Which side of a call a span describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// The gateway called an upstream.
    Client,
    /// Something inside.
    Internal,
    /// A client called the gateway.
    Server,
}

/// A value of an attribute.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum SpanAttribute {
    /// Yes or no.
    Bool(bool),
    /// A measured number.
    Float(f64),
    /// A whole number.
    Int(i64),
    /// Text.
    Text(Cow<'static, str>),
}

/// What came of a span.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpanStatus {
    /// It failed, for this reason.
    Error(Cow<'static, str>),
    /// Nothing to say, as the conventions ask for when nothing failed.
    #[default]
    Unset,
}

impl SpanRecord {
    /// A span without attributes that did not fail.
    #[must_use]
    pub fn new(
        name: impl Into<Cow<'static, str>>,
        kind: SpanKind,
        context: TraceContext,
        start: SystemTime,
        end: SystemTime,
    ) -> Self {
        Self {
            name: name.into(),
            kind,
            context,
            start,
            end,
            attributes: Vec::new(),
            status: SpanStatus::Unset,
        }
    }

    /// Adds an attribute.
    #[must_use]
    pub fn attribute(mut self, name: &'static str, value: impl Into<SpanAttribute>) -> Self {
        self.attributes.push((name, value.into()));
        self
    }

    /// Says that it failed.
    #[must_use]
    pub fn failed(mut self, reason: impl Into<Cow<'static, str>>) -> Self {
        self.status = SpanStatus::Error(reason.into());
        self
    }
}

impl From<bool> for SpanAttribute {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<f64> for SpanAttribute {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<i64> for SpanAttribute {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<u16> for SpanAttribute {
    fn from(value: u16) -> Self {
        Self::Int(value.into())
    }
}

impl From<&'static str> for SpanAttribute {
    fn from(value: &'static str) -> Self {
        Self::Text(value.into())
    }
}

impl From<String> for SpanAttribute {
    fn from(value: String) -> Self {
        Self::Text(value.into())
    }
}
