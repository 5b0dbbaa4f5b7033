//! Where logs and spans go, kept across reloads while their configuration is the same.

use std::sync::Arc;
use std::time::Duration;

use super::process::Process;
use crate::config::{Diagnostic, Diagnostics, ir};
use crate::error::chain;
use crate::observe::config::{AccessLogConfig, TracingConfig};
use crate::observe::trace::SpanSink;
use crate::observe::{AccessLog, Tracer};

/// Open logs and exporters.
#[derive(Clone, Default)]
pub(crate) struct Sinks {
    /// Moves when something was opened or closed.
    version: u64,
    log: Option<(AccessLogConfig, AccessLog)>,
    tracing: Option<(TracingConfig, Tracer)>,
    spans: Option<Arc<dyn SpanSink>>,
}

impl Sinks {
    /// What `config` asks for: the same values where it asks for the same.
    pub(crate) fn renew(
        &self,
        config: &ir::Config,
        process: &Process,
        problems: &mut Diagnostics,
    ) -> Option<Self> {
        let mut renewed = self.clone();
        let log = self.log.as_ref().map(|(config, _)| config);
        if log != config.access_log.as_ref() {
            renewed.version += 1;
            renewed.log = match &config.access_log {
                None => None,
                Some(wanted) => {
                    match AccessLog::open(wanted, process.shards(), process.metrics()) {
                        Ok(log) => Some((wanted.clone(), log)),
                        Err(error) => {
                            problems.push(Diagnostic::error(format!(
                                "opening the access log {}: {}",
                                wanted.path,
                                chain(&error)
                            )));
                            return None;
                        }
                    }
                }
            };
        }
        let tracing = self.tracing.as_ref().map(|(config, _)| config);
        if tracing != config.tracing.as_ref() {
            renewed.version += 1;
            renewed.tracing = config
                .tracing
                .as_ref()
                .map(|wanted| (wanted.clone(), Tracer::from(wanted)));
            renewed.spans = match config
                .tracing
                .as_ref()
                .and_then(|wanted| wanted.otlp.as_ref())
            {
                None => None,
                Some(wanted) => Some(exporter(wanted, process, problems)?),
            };
        }
        Some(renewed)
    }

    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn access_log(&self) -> Option<AccessLog> {
        self.log.as_ref().map(|(_, log)| log.clone())
    }

    pub(crate) fn log_query(&self) -> bool {
        self.log.as_ref().is_some_and(|(config, _)| config.query)
    }

    pub(crate) fn tracer(&self) -> Option<Tracer> {
        self.tracing.as_ref().map(|(_, tracer)| *tracer)
    }

    pub(crate) fn spans(&self) -> Option<Arc<dyn SpanSink>> {
        self.spans.clone()
    }

    /// Writes out what waits.
    pub(crate) fn flush(&self, limit: Duration) {
        if let Some((_, log)) = &self.log
            && !log.flush(limit)
        {
            tracing::warn!("the access log was not written out in time");
        }
        if let Some(spans) = &self.spans
            && !spans.flush(limit)
        {
            tracing::warn!("the last spans were not sent in time");
        }
    }
}

#[cfg(feature = "otlp")]
fn exporter(
    config: &crate::observe::config::OtlpConfig,
    process: &Process,
    problems: &mut Diagnostics,
) -> Option<Arc<dyn SpanSink>> {
    match crate::observe::trace::otlp::OtlpExporter::start(config, process.metrics()) {
        Ok(exporter) => Some(Arc::new(exporter)),
        Err(error) => {
            problems.push(Diagnostic::error(format!(
                "tracing.otlp: {}",
                chain(&error)
            )));
            None
        }
    }
}

#[cfg(not(feature = "otlp"))]
fn exporter(
    _: &crate::observe::config::OtlpConfig,
    _: &Process,
    problems: &mut Diagnostics,
) -> Option<Arc<dyn SpanSink>> {
    problems.push(
        Diagnostic::error("tracing.otlp: this binary was built without span export")
            .hint("build it with the cargo feature `otlp`, or remove `tracing.otlp`"),
    );
    None
}
