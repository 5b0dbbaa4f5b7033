//! What operators and observers are told of the endpoints of upstreams.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::watch;

use super::compile::Controller;
use super::upstreams::LiveUpstreams;
use crate::clock::Clock;
use crate::forward::UpstreamClient;
use crate::observe::metrics::Scrape;
use crate::observe::{Event, Observers};
use crate::pool::Pool;
use crate::spawn::spawn;
use crate::upstream::{Health, Snapshot, Upstream};

/// Shows the endpoints of the live configuration in the metrics, for as long as `controller` lives.
pub(super) fn show(controller: &Arc<Controller>) {
    let weak = Arc::downgrade(controller);
    let metrics = controller.process.metrics();
    metrics
        .on_scrape(move |scrape| {
            let Some(controller) = weak.upgrade() else {
                return;
            };
            // Scraping many endpoints must not hold up a reload.
            let clients: Vec<Arc<UpstreamClient>> = {
                let state = controller.state();
                state
                    .upstreams
                    .values()
                    .map(|live| live.client.clone())
                    .collect()
            };
            for client in clients {
                report(client.upstream(), scrape);
            }
        })
        .detach();
}

fn report(upstream: &Upstream, scrape: &mut Scrape) {
    let now = Clock.now();
    for endpoint in upstream.snapshot().endpoints() {
        let (name, address) = (upstream.name(), endpoint.address().to_string());
        let own = [("upstream", &**name), ("endpoint", &*address)];
        let with = |label, value| [own[0], own[1], (label, value)];
        let stats = endpoint.stats();
        scrape.gauge(
            "portcullis_upstream_endpoint_up",
            "Whether the endpoint may be picked: neither unhealthy nor ejected.",
            &own,
            f64::from(u8::from(stats.is_available(now))),
        );
        scrape.gauge(
            "portcullis_upstream_requests_in_flight",
            "Requests sent to the endpoint whose replies are not complete.",
            &own,
            f64::from(stats.in_flight()),
        );
        for (outcome, count) in [
            ("success", stats.successes()),
            ("failure", stats.failures()),
            ("cancelled", stats.cancelled()),
        ] {
            scrape.counter(
                "portcullis_upstream_requests_total",
                "Attempts at the endpoint that ended, by outcome.",
                &with("outcome", outcome),
                count as f64,
            );
        }
        let pool = endpoint.attachments().find::<Arc<Pool>>();
        let (open, idle) = pool.map_or((0, 0), |pool| (pool.open(), pool.idle()));
        for (state, count) in [("open", open), ("idle", idle)] {
            scrape.gauge(
                "portcullis_upstream_connections",
                "Connections to the endpoint: all that are open, and those of them that wait for a request.",
                &with("state", state),
                count as f64,
            );
        }
    }
}

/// Tells observers which endpoints take requests, across reloads: an upstream that is built anew goes on where
/// the one of the same name left off.
#[derive(Debug, Default)]
pub(super) struct Announcer {
    observers: Observers,
    next: AtomicU64,
    upstreams: Mutex<HashMap<Arc<str>, Known>>,
    /// Held while observers are told, so that events come in the order of what happened. Taken before `upstreams`
    /// and only by tasks, never by a reload: observers may call what a reload locks.
    telling: Mutex<()>,
}

/// What observers were told of an upstream.
#[derive(Debug, Default)]
struct Known {
    /// Only the upstream that is live now is listened to; the one before may still serve requests.
    turn: u64,
    /// Whether the endpoint was last said to be up, by address. Sorted, so that events come in that order.
    endpoints: BTreeMap<String, bool>,
}

impl Announcer {
    pub(super) fn new(observers: Observers) -> Self {
        Self {
            observers,
            ..Self::default()
        }
    }

    /// Follows `upstream` until it is dropped or another of its name is followed.
    pub(super) fn follow(self: &Arc<Self>, upstream: &Arc<Upstream>) {
        if self.observers.is_empty() {
            return;
        }
        let turn = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        self.lock().entry(upstream.name().clone()).or_default().turn = turn;
        let changes = upstream.changes();
        spawn(follow(
            self.clone(),
            Arc::downgrade(upstream),
            changes,
            turn,
        ));
    }

    /// Forgets upstreams that are not among `live`.
    pub(super) fn retain(self: &Arc<Self>, live: &LiveUpstreams) {
        let gone: Vec<(Arc<str>, Known)> = {
            let mut known = self.lock();
            known
                .extract_if(|name, _| !live.contains_key(name))
                .collect()
        };
        if gone.is_empty() {
            return;
        }
        let this = self.clone();
        spawn(async move {
            let _telling = this.telling.lock().unwrap_or_else(PoisonError::into_inner);
            for (name, known) in gone {
                for (address, _) in known.endpoints.iter().filter(|(_, up)| **up) {
                    this.down(&name, address, "removed");
                }
            }
        });
    }

    fn update(&self, upstream: &Upstream, turn: u64) {
        let snapshot = upstream.snapshot();
        let _telling = self.telling.lock().unwrap_or_else(PoisonError::into_inner);
        let changes = match self.lock().get_mut(upstream.name()) {
            Some(known) if known.turn == turn => known.renew(&snapshot),
            _ => return,
        };
        for (address, change) in changes {
            match change {
                None => self.observers.emit(&Event::EndpointUp {
                    upstream: upstream.name(),
                    endpoint: &address,
                }),
                Some(reason) => self.down(upstream.name(), &address, reason),
            }
        }
    }

    fn down(&self, upstream: &str, endpoint: &str, reason: &str) {
        self.observers.emit(&Event::EndpointDown {
            upstream,
            endpoint,
            reason,
        });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Known>> {
        self.upstreams
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Takes over what `snapshot` says; returns what changed: `None` for up, else why it is down.
    fn renew(&mut self, snapshot: &Snapshot) -> Vec<(String, Option<&'static str>)> {
        let now = Clock.now();
        let mut changes = Vec::new();
        let mut present = HashSet::new();
        for endpoint in snapshot.endpoints() {
            let address = endpoint.address().to_string();
            let stats = endpoint.stats();
            let up = stats.is_available(now);
            let was_up = self.endpoints.insert(address.clone(), up).unwrap_or(false);
            if up && !was_up {
                changes.push((address.clone(), None));
            } else if was_up && !up {
                let unhealthy = stats.health() == Health::Unhealthy;
                changes.push((
                    address.clone(),
                    Some(if unhealthy { "health" } else { "outlier" }),
                ));
            }
            present.insert(address);
        }
        self.endpoints.retain(|address, up| {
            let stays = present.contains(address);
            if !stays && *up {
                changes.push((address.clone(), Some("removed")));
            }
            stays
        });
        changes
    }
}

async fn follow(
    told: Arc<Announcer>,
    upstream: Weak<Upstream>,
    mut changes: watch::Receiver<u64>,
    turn: u64,
) {
    loop {
        match upstream.upgrade() {
            Some(upstream) => told.update(&upstream, turn),
            None => return,
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}
