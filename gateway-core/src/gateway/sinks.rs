//! Where logs and spans go, kept across reloads while their configuration is the same.

use std::io;
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
    /// What `config` asks for: the same values where it asks for the same. `None` when something cannot be
    /// opened, every problem reported.
    pub(crate) fn renew(
        &self,
        config: &ir::Config,
        process: &Process,
        problems: &mut Diagnostics,
    ) -> Option<Self> {
        let mut renewed = self.clone();
        let mut usable = true;
        if self.wants_log(config) {
            renewed.version += 1;
            let opened = config.access_log.as_ref().map(|wanted| {
                let log = AccessLog::open(wanted, process.shards(), process.metrics());
                let log = log.map_err(|error| problems.push(cannot_open(wanted, &error)));
                Some((wanted.clone(), log.ok()?))
            });
            usable &= !matches!(opened, Some(None));
            renewed.log = opened.flatten();
        }
        if self.wants_spans(config) {
            renewed.version += 1;
            let tracing = config.tracing.as_ref();
            renewed.tracing = tracing.map(|wanted| (wanted.clone(), Tracer::from(wanted)));
            let otlp = tracing.and_then(|wanted| wanted.otlp.as_ref());
            let started = otlp.map(|wanted| exporter(wanted, process, problems));
            usable &= !matches!(started, Some(None));
            renewed.spans = started.flatten();
        }
        usable.then_some(renewed)
    }

    /// Reports what [`renew`](Self::renew) would probably fail at, without opening or starting anything for good.
    pub(crate) fn check(&self, config: &ir::Config, problems: &mut Diagnostics) {
        if self.wants_log(config)
            && let Some(wanted) = &config.access_log
            && let Err(error) = AccessLog::check(wanted)
        {
            problems.push(cannot_open(wanted, &error));
        }
    }

    fn wants_log(&self, config: &ir::Config) -> bool {
        let log = self.log.as_ref().map(|(config, _)| config);
        log != config.access_log.as_ref()
    }

    fn wants_spans(&self, config: &ir::Config) -> bool {
        let tracing = self.tracing.as_ref().map(|(config, _)| config);
        tracing != config.tracing.as_ref()
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

fn cannot_open(config: &AccessLogConfig, error: &io::Error) -> Diagnostic {
    let path = &config.path;
    let problem = path.error(format!("opening the access log {path}: {}", chain(error)));
    problem.hint("the folder has to exist, and the gateway's user may have to write there")
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
            let problem = format!("tracing.otlp: {}", chain(&error));
            problems.push(config.endpoint.error(problem));
            None
        }
    }
}

#[cfg(not(feature = "otlp"))]
fn exporter(
    config: &crate::observe::config::OtlpConfig,
    _: &Process,
    problems: &mut Diagnostics,
) -> Option<Arc<dyn SpanSink>> {
    let problem = "tracing.otlp: this binary was built without span export";
    problems.push(
        config
            .endpoint
            .error(problem)
            .hint("build it with the cargo feature `otlp`, or remove `tracing.otlp`"),
    );
    None
}
