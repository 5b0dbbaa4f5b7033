//! Passive health: endpoints whose requests keep failing are set aside for a while.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::clock::Instant;
use crate::upstream::endpoint::Endpoint;
use crate::upstream::spec::EndpointId;

/// When to eject an endpoint whose requests fail, and for how long.
///
/// The n-th ejection in a row lasts `base_ejection * 2^(n-1)`, at most `max_ejection`. Ejections are "in a
/// row" while less than `base_ejection` passes between the end of one and the next; each further
/// `base_ejection` without one takes a step back.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutlierConfig {
    /// Failures of any kind without a success in between; 0 turns this rule off. Default: 5.
    pub consecutive_failures: u32,
    /// The same for 502, 503, 504, timeouts and failed connects only; 0 turns it off. Default: 0.
    pub consecutive_gateway_errors: u32,
    /// The same for failed connects only; 0 turns it off. Default: 0.
    pub consecutive_connect_failures: u32,
    /// How long the first ejection lasts. Default: 30 s.
    pub base_ejection: Duration,
    /// How long an ejection lasts at most. Default: 5 min.
    pub max_ejection: Duration,
    /// The part of the endpoints that may be ejected at one time, 0 to 100. One endpoint may always be,
    /// unless this is 0 or it is the only one. Default: 50.
    pub max_ejection_percent: u8,
}

impl Default for OutlierConfig {
    fn default() -> Self {
        Self {
            consecutive_failures: 5,
            consecutive_gateway_errors: 0,
            consecutive_connect_failures: 0,
            base_ejection: Duration::from_secs(30),
            max_ejection: Duration::from_secs(300),
            max_ejection_percent: 50,
        }
    }
}

impl OutlierConfig {
    fn is_reached(&self, [any, gateway, connect]: [u32; 3]) -> bool {
        let reached = |count, limit| limit > 0 && count >= limit;
        reached(any, self.consecutive_failures)
            || reached(gateway, self.consecutive_gateway_errors)
            || reached(connect, self.consecutive_connect_failures)
    }

    fn allows(&self, ejected: usize, endpoints: usize) -> bool {
        let percent = usize::from(self.max_ejection_percent.min(100));
        match ejected {
            0 => percent > 0 && endpoints > 1,
            _ => (ejected + 1) * 100 <= percent * endpoints,
        }
    }

    /// The length of the ejection after `earlier` others in a row.
    fn length(&self, earlier: u32) -> Duration {
        let factor = 2_u32.saturating_pow(earlier);
        self.base_ejection
            .saturating_mul(factor)
            .min(self.max_ejection)
    }
}

/// Carries changes of health from endpoints to the driver of their upstream, and decides about ejections.
#[derive(Debug)]
pub(super) struct Signal {
    config: Option<OutlierConfig>,
    changed: Notify,
    endpoints: AtomicUsize,
    driven: AtomicBool,
    ejections: Mutex<HashMap<EndpointId, Ejection>>,
}

#[derive(Clone, Copy, Debug)]
struct Ejection {
    until: Instant,
    /// Ejections in a row, this one included.
    in_a_row: u32,
}

impl Signal {
    pub(super) fn new(config: Option<OutlierConfig>) -> Self {
        Self {
            config,
            changed: Notify::new(),
            endpoints: AtomicUsize::new(0),
            driven: AtomicBool::new(false),
            ejections: Mutex::new(HashMap::new()),
        }
    }

    /// Wakes the driver, now or when it next waits.
    pub(super) fn notify(&self) {
        self.changed.notify_one();
    }

    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Claims the right to drive the upstream; `false` when somebody else has it.
    pub(super) fn claim(&self) -> bool {
        !self.driven.swap(true, Ordering::AcqRel)
    }

    pub(super) fn release(&self) {
        self.driven.store(false, Ordering::Release);
    }

    /// Tells how many endpoints there are and forgets those that `keeps` does not know.
    pub(super) fn retain(&self, endpoints: usize, keeps: impl Fn(EndpointId) -> bool) {
        self.endpoints.store(endpoints, Ordering::Relaxed);
        let mut ejections = self
            .ejections
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        ejections.retain(|id, _| keeps(*id));
    }

    /// Ejects `endpoint` if its failures in a row say so and enough others are left.
    pub(super) fn failed(&self, endpoint: &Endpoint, streaks: [u32; 3], now: Instant) {
        let Some(config) = &self.config else { return };
        if !config.is_reached(streaks) || endpoint.stats().ejected_until(now).is_some() {
            return;
        }
        let mut ejections = self
            .ejections
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let last = ejections.get(&endpoint.id()).copied();
        if last.is_some_and(|ejection| ejection.until > now) {
            return; // another request was faster
        }
        let ejected = ejections
            .values()
            .filter(|ejection| ejection.until > now)
            .count();
        if !config.allows(ejected, self.endpoints.load(Ordering::Relaxed)) {
            return;
        }
        let earlier = last.map_or(0, |last| last.steps_left(config.base_ejection, now));
        let until = now + config.length(earlier);
        let in_a_row = earlier.saturating_add(1);
        ejections.insert(endpoint.id(), Ejection { until, in_a_row });
        endpoint.stats().eject(until);
        drop(ejections);
        tracing::warn!(
            endpoint = %endpoint.address(),
            seconds = until.saturating_duration_since(now).as_secs_f64(),
            "endpoint ejected after consecutive failures"
        );
        self.notify();
    }
}

impl Ejection {
    /// How many ejections in a row still count at `now`.
    fn steps_left(&self, base: Duration, now: Instant) -> u32 {
        let calm = now.saturating_duration_since(self.until).as_nanos();
        let steps = calm / base.as_nanos().max(1);
        self.in_a_row
            .saturating_sub(u32::try_from(steps).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::{EndpointSpec, Outcome};
    use std::sync::Arc;

    const SECOND: Duration = Duration::from_secs(1);

    fn group(config: OutlierConfig, count: u16) -> Vec<Arc<Endpoint>> {
        let signal = Arc::new(Signal::new(Some(config)));
        signal.retain(usize::from(count), |_| true);
        (1..=count)
            .map(|port| Endpoint::joining(EndpointSpec::new(([127, 0, 0, 1], port)), &signal))
            .collect()
    }

    fn fail(endpoint: &Endpoint, times: usize) -> Option<Duration> {
        for _ in 0..times {
            endpoint.record(Outcome::ServerError, Duration::ZERO);
        }
        let now = Instant::now();
        endpoint.stats().ejected_until(now).map(|until| until - now)
    }

    #[tokio::test(start_paused = true)]
    async fn ejects_after_so_many_failures_in_a_row() {
        let endpoints = group(OutlierConfig::default(), 2);
        assert_eq!(fail(&endpoints[0], 4), None);
        endpoints[0].record(Outcome::Success, Duration::ZERO);
        assert_eq!(fail(&endpoints[0], 4), None);
        assert_eq!(fail(&endpoints[0], 1), Some(30 * SECOND));
    }

    #[tokio::test(start_paused = true)]
    async fn repeated_ejections_double_up_to_the_cap_and_calm_down() {
        let config = OutlierConfig {
            max_ejection: 100 * SECOND,
            ..OutlierConfig::default()
        };
        let endpoints = group(config, 2);
        for wanted in [30, 60, 100, 100] {
            let length = fail(&endpoints[0], 5).unwrap();
            assert_eq!(length, wanted * SECOND);
            tokio::time::advance(length).await;
        }
        tokio::time::advance(150 * SECOND).await;
        assert_eq!(fail(&endpoints[0], 5), Some(30 * SECOND));
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_are_ejected_at_once() {
        let endpoints = group(OutlierConfig::default(), 4);
        let ejected = endpoints.iter().filter(|e| fail(e, 5).is_some()).count();
        assert_eq!(ejected, 2);
        let alone = group(OutlierConfig::default(), 1);
        assert_eq!(fail(&alone[0], 50), None, "the only endpoint stays");
        let off = OutlierConfig {
            max_ejection_percent: 0,
            ..OutlierConfig::default()
        };
        assert_eq!(fail(&group(off, 4)[0], 50), None);
    }

    #[tokio::test(start_paused = true)]
    async fn connect_failures_have_a_rule_of_their_own() {
        let config = OutlierConfig {
            consecutive_failures: 0,
            consecutive_connect_failures: 2,
            ..OutlierConfig::default()
        };
        let endpoints = group(config, 2);
        let now = Instant::now();
        for outcome in [
            Outcome::ConnectFailure,
            Outcome::ServerError,
            Outcome::ConnectFailure,
        ] {
            endpoints[0].record(outcome, Duration::ZERO);
        }
        assert_eq!(endpoints[0].stats().ejected_until(now), None);
        endpoints[0].record(Outcome::ConnectFailure, Duration::ZERO);
        assert!(endpoints[0].stats().ejected_until(now).is_some());
    }
}
