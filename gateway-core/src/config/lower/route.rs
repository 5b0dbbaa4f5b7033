//! Routes.

use std::time::Duration;

use super::{
    affinity,
    findings::Findings,
    fingerprint,
    limits::timeout,
    matching,
    names::{Names, called},
    place::Place,
    retry,
};
use crate::{
    balance::combine_hashes,
    config::{
        Located,
        ir::{Backend, Mirror, Route, Upstream},
        raw::{DeadlineField, RawDefaults, RawRoute, RawRouteTimeouts},
        units::TimeSpan,
    },
    forward::{Announce, RetryPolicy, RouteTimeouts},
};

/// What routes use where they say nothing themselves.
pub(super) struct Defaults<'r> {
    timeouts: &'r RawRouteTimeouts,
    retry: Option<RetryPolicy>,
    fingerprint: u64,
}

impl<'r> Defaults<'r> {
    pub(super) fn of(raw: &'r RawDefaults, problems: &mut Findings<'_>) -> Self {
        Self {
            timeouts: &raw.timeouts,
            retry: raw
                .retry
                .as_ref()
                .and_then(|retry| retry::lower(retry, problems)),
            fingerprint: fingerprint::written(raw),
        }
    }
}

/// What a route may refer to.
pub(super) struct Scope<'r> {
    pub(super) names: &'r Names<'r>,
    pub(super) defaults: &'r Defaults<'r>,
    /// The fingerprints of the upstreams, by position.
    pub(super) upstreams: &'r [u64],
}

pub(super) fn lower(raw: &RawRoute, scope: &Scope<'_>, problems: &mut Findings<'_>) -> Route {
    let backends = backends(raw, scope, problems);
    let print = combine_hashes(fingerprint::written(raw), scope.defaults.fingerprint);
    let mirrors = mirrors(raw, scope, problems);
    let used = backends.iter().map(|backend| backend.upstream);
    let used = used.chain(mirrors.iter().map(|mirror| mirror.upstream));
    let fingerprint = used.fold(print, |print, upstream| {
        combine_hashes(
            print,
            scope.upstreams.get(upstream).copied().unwrap_or_default(),
        )
    });
    Route {
        name: raw.name.as_str().into(),
        listeners: listeners(raw, scope, problems),
        matches: matching::lower(raw, problems),
        matchers: raw
            .matches
            .iter()
            .flat_map(|matches| &matches.custom)
            .cloned()
            .collect(),
        priority: raw.priority,
        filters: raw.filters.clone(),
        timeouts: timeouts(raw, scope.defaults, problems),
        retry: match &raw.retry {
            Some(retry) => retry::lower(retry, problems),
            None => scope.defaults.retry.clone(),
        },
        hedge: raw
            .hedge
            .as_ref()
            .and_then(|hedge| retry::lower_hedge(hedge, &raw.name, problems)),
        backends,
        mirrors,
        sticky: raw
            .sticky
            .as_ref()
            .and_then(|sticky| affinity::sticky(sticky, &raw.name, problems)),
        // What was wrong may have been a `false`, which some filters need.
        upgrade: raw.upgrade && !problems.lost(&raw.name, &["upgrade"]),
        fingerprint,
        place: raw.name.with(()),
    }
}

/// Clients that stay where they were cannot be sent to two places, of which the reply would name one.
pub(super) fn check_hedge(
    route: &Route,
    name: &Located<String>,
    upstreams: &[Upstream],
    problems: &mut Findings<'_>,
) {
    if route.hedge.is_none() {
        return;
    }
    let upstream = |backend: &Backend| upstreams.get(backend.upstream);
    let mut backends = route.backends.iter().filter_map(upstream);
    let keeper = backends.find(|upstream| upstream.settings.keeps_clients());
    let problem = match keeper {
        Some(upstream) => format!(
            "the upstream `{}` keeps its clients on their endpoints, so there is no second attempt elsewhere",
            upstream.name
        ),
        None if route.sticky.is_some() => {
            "`sticky` keeps clients on their backends, so there is no second attempt elsewhere"
                .to_owned()
        }
        None => return,
    };
    let problem = Place::of(name).error(&["hedge"], problem);
    problems.push(problem.hint("leave out `hedge`, or what keeps clients"));
}

/// The positions of its listeners. One that does not exist must not widen the route to all of them, but then
/// the configuration is refused anyway.
fn listeners(raw: &RawRoute, scope: &Scope<'_>, problems: &mut Findings<'_>) -> Vec<usize> {
    let mut positions: Vec<usize> = raw
        .listeners
        .iter()
        .filter_map(|name| scope.names.listeners.find(name, problems))
        .collect();
    positions.sort_unstable();
    positions.dedup();
    positions
}

fn backends(raw: &RawRoute, scope: &Scope<'_>, problems: &mut Findings<'_>) -> Vec<Backend> {
    let place = Place::of(&raw.name);
    let route = || called("route", &raw.name);
    let lost = problems.lost(&raw.name, &["backends"]);
    let could_answer = !raw.filters.is_empty() || problems.lost(&raw.name, &["filters"]);
    if raw.backends.is_empty() && !could_answer && !lost {
        let problem = place.error(
            &["backends"],
            format!(
                "{} has no backend, and no filter that could answer",
                route()
            ),
        );
        problems.push(problem.hint("write `backends: [{ upstream: NAME }]`"));
    }
    let idle = raw.backends.iter().all(|backend| backend.weight == 0);
    if idle && !raw.backends.is_empty() && !lost {
        let problem = place.warning(
            &["backends"],
            format!("every backend of {} has the weight 0", route()),
        );
        problems.push(problem.hint("requests that no filter answers are answered with 503"));
    }
    let lowered = raw.backends.iter().filter_map(|backend| {
        Some(Backend {
            upstream: scope.names.upstreams.find(&backend.upstream, problems)?,
            weight: backend.weight,
            priority: backend.priority,
            filters: backend.filters.clone(),
        })
    });
    lowered.collect()
}

fn announce(fields: Option<&Vec<DeadlineField>>) -> Announce {
    let asked = |field| fields.is_some_and(|fields| fields.contains(&field));
    Announce {
        grpc: asked(DeadlineField::Grpc),
        envoy: asked(DeadlineField::Envoy),
    }
}

fn mirrors(raw: &RawRoute, scope: &Scope<'_>, problems: &mut Findings<'_>) -> Vec<Mirror> {
    let lowered = raw.mirror.iter().filter_map(|mirror| {
        let percent = mirror.percent.value;
        if !(0.0..=100.0).contains(&percent) {
            let problem = format!("expected 0 to 100, found {percent}");
            problems.push(mirror.percent.error(problem));
        }
        Some(Mirror {
            upstream: scope.names.upstreams.find(&mirror.upstream, problems)?,
            share: percent / 100.0,
            max_body: usize::try_from(mirror.max_body.get()).unwrap_or(usize::MAX),
            max_in_flight: usize::try_from(mirror.max_in_flight).unwrap_or(usize::MAX),
        })
    });
    lowered.collect()
}

fn timeouts(raw: &RawRoute, defaults: &Defaults<'_>, problems: &mut Findings<'_>) -> RouteTimeouts {
    let (own, other) = (&raw.timeouts, defaults.timeouts);
    let chosen = |own: Option<TimeSpan>, other: Option<TimeSpan>, unset: Option<Duration>| {
        own.or(other).map_or(unset, timeout)
    };
    let unset = RouteTimeouts::default();
    let lowered = RouteTimeouts {
        total: chosen(own.total, other.total, unset.total),
        per_try: chosen(own.per_try, other.per_try, unset.per_try),
        idle: chosen(own.idle, other.idle, unset.idle),
        head: chosen(own.head, other.head, unset.head),
        stream: chosen(own.stream, other.stream, unset.stream),
        announce: announce(own.announce.as_ref().or(other.announce.as_ref())),
    };
    let known = !problems.lost(&raw.name, &["timeouts"]) && !problems.lost_section("defaults");
    if let (Some(total), Some(per_try)) = (lowered.total, lowered.per_try)
        && per_try > total
        && known
    {
        let problem = format!(
            "`per_try` ({}) never ends an attempt, `total` ({}) does",
            TimeSpan::from(per_try),
            TimeSpan::from(total),
        );
        problems.push(Place::of(&raw.name).warning(&["timeouts", "per_try"], problem));
    }
    lowered
}
