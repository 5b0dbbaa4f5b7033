//! What an endpoint's requests and probes have shown so far.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::{Clock, Instant};

/// Time constant of the decay: what is this old counts 37 per cent.
const DECAY: Duration = Duration::from_secs(10);
/// What a success leaves of the penalty for earlier failures.
const FORGIVE: f64 = 0.8;

/// Counters and averages of one endpoint, shared by all workers.
///
/// They are for choosing and for looking at: each is exact or nearly so by itself, but reading several gives
/// no consistent picture, and an average may lose a sample when two requests end at the same instant.
#[derive(Debug)]
#[repr(align(128))] // apart from its neighbours: every worker writes it
pub struct EndpointStats {
    born: Instant,
    in_flight: AtomicU32,
    health: AtomicU8,
    /// Decayed latency in seconds as `f64` bits; 0 before the first sample.
    latency: AtomicU64,
    /// Decayed number of recent failures as `f64` bits.
    penalty: AtomicU64,
    /// When both were written, in nanoseconds since `born`.
    written: AtomicU64,
    successes: AtomicU64,
    failures: AtomicU64,
    cancelled: AtomicU64,
    pub(super) streaks: Streaks,
    /// When the current or last ejection ends, in nanoseconds since `born`; 0 when never ejected.
    ejected_until: AtomicU64,
    ejections: AtomicU32,
    /// When checks last brought it back, in nanoseconds since `born`; 0 for never.
    recovered: AtomicU64,
}

/// Failures without a success in between.
#[derive(Debug, Default)]
pub(super) struct Streaks {
    pub(super) any: AtomicU32,
    pub(super) gateway: AtomicU32,
    pub(super) connect: AtomicU32,
}

impl Streaks {
    pub(super) fn reset(&self) {
        for streak in [&self.any, &self.gateway, &self.connect] {
            // the usual success finds zeros and leaves the line unwritten
            if streak.load(Ordering::Relaxed) != 0 {
                streak.store(0, Ordering::Relaxed);
            }
        }
    }
}

/// What active checks say about an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Health {
    /// Not checked, or not checked often enough to say; counts as usable.
    #[default]
    Unknown = 0,
    /// Passed its checks.
    Healthy = 1,
    /// Failed its checks.
    Unhealthy = 2,
}

/// What policies compare endpoints by, decayed to a point in time.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Load {
    /// Requests in flight.
    pub in_flight: u32,
    /// Decayed latency; `None` before the first sample. Decays towards zero without new samples, so an
    /// endpoint that looked bad gets another chance.
    pub latency: Option<Duration>,
    /// Decayed number of recent failures; 0 when all is well.
    pub penalty: f64,
}

impl EndpointStats {
    pub(super) fn new() -> Self {
        Self {
            born: Clock.now(),
            in_flight: AtomicU32::new(0),
            health: AtomicU8::new(Health::Unknown as u8),
            latency: AtomicU64::new(0),
            penalty: AtomicU64::new(0),
            written: AtomicU64::new(0),
            successes: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            cancelled: AtomicU64::new(0),
            streaks: Streaks::default(),
            ejected_until: AtomicU64::new(0),
            ejections: AtomicU32::new(0),
            recovered: AtomicU64::new(0),
        }
    }

    /// Requests begun and not ended.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Requests that ended well.
    #[must_use]
    pub fn successes(&self) -> u64 {
        self.successes.load(Ordering::Relaxed)
    }

    /// Requests that failed.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Requests that ended without saying anything about the endpoint.
    #[must_use]
    pub fn cancelled(&self) -> u64 {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Failures since the last success.
    #[must_use]
    pub fn consecutive_failures(&self) -> u32 {
        self.streaks.any.load(Ordering::Relaxed)
    }

    /// How often it was ejected.
    #[must_use]
    pub fn ejections(&self) -> u32 {
        self.ejections.load(Ordering::Relaxed)
    }

    /// What active checks say.
    #[must_use]
    pub fn health(&self) -> Health {
        match self.health.load(Ordering::Relaxed) {
            1 => Health::Healthy,
            2 => Health::Unhealthy,
            _ => Health::Unknown,
        }
    }

    /// When its ejection ends, if it is ejected at `now`.
    #[must_use]
    pub fn ejected_until(&self, now: Instant) -> Option<Instant> {
        match self.ejected_until.load(Ordering::Relaxed) {
            0 => None,
            nanos => {
                let until = self.born + Duration::from_nanos(nanos);
                (until > now).then_some(until)
            }
        }
    }

    /// Whether it may be picked at `now`: not found unhealthy and not ejected.
    #[must_use]
    pub fn is_available(&self, now: Instant) -> bool {
        self.health() != Health::Unhealthy && self.ejected_until(now).is_none()
    }

    /// Since when it may be picked, if it may: since it was made, checks brought it back, or its last ejection ended.
    pub(super) fn usable_since(&self, now: Instant) -> Instant {
        let recovered = self.recovered.load(Ordering::Relaxed);
        let ejected = self.ejected_until.load(Ordering::Relaxed);
        let since = self.born + Duration::from_nanos(recovered.max(ejected));
        since.min(now)
    }

    /// Load, latency and failures as of `now`.
    #[must_use]
    pub fn load(&self, now: Instant) -> Load {
        let fade = decay(self.age(now));
        let latency = f64::from_bits(self.latency.load(Ordering::Relaxed));
        Load {
            in_flight: self.in_flight(),
            latency: (latency > 0.0).then(|| Duration::from_secs_f64(latency * fade)),
            penalty: f64::from_bits(self.penalty.load(Ordering::Relaxed)) * fade,
        }
    }

    pub(super) fn begin(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn end(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn cancel(&self) {
        self.cancelled.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn succeed(&self, latency: Duration, now: Instant) {
        self.successes.fetch_add(1, Ordering::Relaxed);
        self.streaks.reset();
        self.sample(latency, now, |penalty| penalty * FORGIVE);
    }

    pub(super) fn fail(&self, latency: Duration, now: Instant) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        // a fast failure must not make the endpoint look fast
        let known = self.load(now).latency.unwrap_or_default();
        self.sample(latency.max(known), now, |penalty| penalty + 1.0);
    }

    pub(super) fn set_health(&self, health: Health) -> Health {
        let before = self.health();
        self.health.store(health as u8, Ordering::Relaxed);
        if before == Health::Unhealthy && health != Health::Unhealthy {
            self.recovered
                .store(self.nanos(Clock.now()), Ordering::Relaxed);
        }
        before
    }

    pub(super) fn eject(&self, until: Instant) {
        let nanos = until.saturating_duration_since(self.born).as_nanos();
        let nanos = u64::try_from(nanos).unwrap_or(u64::MAX).max(1);
        self.ejected_until.store(nanos, Ordering::Relaxed);
        self.ejections.fetch_add(1, Ordering::Relaxed);
        self.streaks.reset();
    }

    fn sample(&self, latency: Duration, now: Instant, penalise: impl Fn(f64) -> f64) {
        let age = self.age(now);
        let fade = decay(age);
        let sample = latency.as_secs_f64();
        let before = f64::from_bits(self.latency.load(Ordering::Relaxed));
        let after = match before {
            // trouble counts at once, and fades
            _ if sample >= before => sample,
            _ => before + (sample - before) * (1.0 - fade),
        };
        // a latency of zero would read as "no sample"
        self.latency
            .store(after.max(1e-9).to_bits(), Ordering::Relaxed);
        let penalty = f64::from_bits(self.penalty.load(Ordering::Relaxed));
        let penalised = penalise(penalty * fade);
        let penalised = if penalised < 1e-3 { 0.0 } else { penalised };
        if penalised != penalty {
            self.penalty.store(penalised.to_bits(), Ordering::Relaxed);
        }
        self.written.store(self.nanos(now), Ordering::Relaxed);
    }

    fn age(&self, now: Instant) -> Duration {
        let written = self.written.load(Ordering::Relaxed);
        Duration::from_nanos(self.nanos(now).saturating_sub(written))
    }

    /// Nanoseconds since birth; enough for 584 years.
    fn nanos(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.born).as_nanos() as u64
    }
}

/// About `exp(-age / DECAY)`, without computing it: exact to a few per cent where it matters.
fn decay(age: Duration) -> f64 {
    let x = age.as_secs_f64() / DECAY.as_secs_f64();
    1.0 / (1.0 + x * (1.0 + x * (0.5 + x * 0.166)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn latency_settles_on_what_requests_take() {
        let stats = EndpointStats::new();
        let mut now = stats.born;
        assert_eq!(stats.load(now).latency, None);
        stats.succeed(ms(500), now);
        for _ in 0..600 {
            now += ms(100);
            stats.succeed(ms(20), now);
        }
        let latency = stats.load(now).latency.unwrap();
        assert!((ms(19)..ms(25)).contains(&latency), "{latency:?}");
    }

    #[test]
    fn a_rise_of_latency_counts_at_once() {
        let stats = EndpointStats::new();
        let mut now = stats.born;
        for latency in [10, 10, 10, 1000] {
            now += ms(1);
            stats.succeed(ms(latency), now);
        }
        assert_eq!(stats.load(now).latency, Some(ms(1000)));
        now += ms(1);
        stats.succeed(ms(10), now);
        let after = stats.load(now).latency.unwrap();
        assert!(
            after > ms(990),
            "one good answer takes nothing back: {after:?}"
        );
        now += DECAY;
        stats.succeed(ms(10), now);
        let later = stats.load(now).latency.unwrap();
        assert!((ms(300)..ms(450)).contains(&later), "time does: {later:?}");
    }

    #[test]
    fn an_endpoint_left_alone_looks_better_with_time() {
        let stats = EndpointStats::new();
        stats.succeed(ms(1000), stats.born);
        stats.fail(ms(1000), stats.born);
        let later = stats.load(stats.born + Duration::from_secs(60));
        assert!(
            later.latency.unwrap() < ms(30) && later.penalty < 0.03,
            "{later:?}"
        );
    }

    #[test]
    fn fast_failures_do_not_look_fast() {
        let stats = EndpointStats::new();
        let mut now = stats.born;
        stats.succeed(ms(100), now);
        for _ in 0..10 {
            now += ms(1);
            stats.fail(Duration::from_micros(50), now);
        }
        let load = stats.load(now);
        assert!(
            load.latency.unwrap() > ms(99) && load.penalty > 9.0,
            "{load:?}"
        );
    }

    #[test]
    fn decay_is_close_to_the_exponential() {
        for seconds in [0_u64, 1, 5, 10, 20] {
            let exact = (-(seconds as f64) / 10.0).exp();
            let close = decay(Duration::from_secs(seconds));
            assert!(
                (exact - close).abs() < 0.03,
                "{seconds} s: {exact} and {close}"
            );
        }
    }
}
