//! What keeps clients on an endpoint or a backend.

use http::HeaderName;

use super::{findings::Findings, limits::NEVER, place::explain};
use crate::{
    config::{
        capture::Located,
        raw::{HashOn, RawCookie, RawSticky, RawUpstream, SameSite},
        units::TimeSpan,
    },
    forward::{CookieSpec, HashKey, SameSite as Site, Sticky},
    route::{Anchoring, Pattern},
};

/// Balancers that do not look at the hash of a request.
const WITHOUT_HASH: [&str; 4] = ["p2c", "round-robin", "random", "least-requests"];

pub(super) fn hash(raw: &RawUpstream, problems: &mut Findings<'_>) -> Vec<HashKey> {
    let balancer = raw.balance.as_ref().map_or("p2c", |balance| &balance.kind);
    let known = !problems.lost(&raw.name, &["balance"]);
    let keys = &raw.hash.value.0;
    if keys[..] != [HashOn::default().into()] && WITHOUT_HASH.contains(&balancer) && known {
        let problem = raw.hash.warning(format!(
            "`hash` has no effect, because the balancer `{balancer}` does not hash"
        ));
        problems.push(problem.hint("write `balance: { type: maglev }` or `{ type: ring-hash }`"));
    }
    if keys.is_empty() {
        problems.push(raw.hash.error("expected at least one key to hash"));
    }
    let always =
        |key: &Located<HashOn>| matches!(key.value, HashOn::Path | HashOn::IssuedCookie(_));
    if let Some(last) = keys.iter().position(always)
        && last + 1 < keys.len()
    {
        problems.push(raw.hash.warning(format!(
            "every request has key {} of this list, so those behind it are never used",
            last + 1
        )));
    }
    let keys = keys.iter();
    keys.filter_map(|key| {
        // A key that is not in a list has the place of the whole.
        let at = if key.at.is_known() {
            key.with(())
        } else {
            raw.hash.with(())
        };
        one(key, &at, problems)
    })
    .collect()
}

fn one<T>(key: &HashOn, at: &Located<T>, problems: &mut Findings<'_>) -> Option<HashKey> {
    Some(match key {
        HashOn::ClientIp => HashKey::ClientIp,
        HashOn::Path => HashKey::Path,
        HashOn::Principal => HashKey::Principal,
        HashOn::Header(name) => HashKey::Header(header(name, at, problems)?),
        HashOn::Cookie(name) => {
            cookie_name(name, at, problems);
            HashKey::Cookie(name.clone())
        }
        HashOn::IssuedCookie(raw) => HashKey::IssuedCookie(cookie(raw, at, problems)),
        HashOn::Query(name) => HashKey::Query(name.clone()),
        HashOn::PathCapture(source) => match Pattern::new(source, Anchoring::Search) {
            Ok(pattern) => HashKey::PathCapture(pattern),
            Err(error) => {
                problems.push(at.error(explain(&error)));
                return None;
            }
        },
    })
}

/// `scope` is what clients are kept on.
pub(super) fn sticky(
    raw: &Located<RawSticky>,
    scope: &str,
    problems: &mut Findings<'_>,
) -> Option<Box<Sticky>> {
    let sticky = match (&raw.cookie, &raw.header) {
        (Some(raw_cookie), None) => Sticky::cookie(cookie(raw_cookie, raw, problems), scope),
        (None, Some(name)) => Sticky::header(header(name, raw, problems)?, scope),
        (given, _) => {
            let found = if given.is_some() { "both" } else { "neither" };
            problems.push(raw.error(format!(
                "expected one of the keys cookie, header, found {found}"
            )));
            return None;
        }
    };
    let mut limit = |span: Option<TimeSpan>, key: &str| {
        let limit = span?.get().min(NEVER);
        if limit.is_zero() {
            problems.push(raw.error(format!("`{key}`: expected more than 0s")));
        }
        Some(limit)
    };
    let absolute = limit(raw.absolute_timeout, "absolute_timeout");
    let idle = limit(raw.idle_timeout, "idle_timeout");
    Some(Box::new(
        sticky.absolute_timeout(absolute).idle_timeout(idle),
    ))
}

fn cookie<T>(raw: &RawCookie, at: &Located<T>, problems: &mut Findings<'_>) -> CookieSpec {
    cookie_name(&raw.name, at, problems);
    let mut cookie = CookieSpec::new(raw.name.clone());
    for (key, value) in [("path", &raw.path), ("domain", &raw.domain)] {
        let Some(value) = value else { continue };
        if !CookieSpec::is_attribute(value) {
            let problem = format!("`{value}` cannot be the {key} of a cookie");
            problems.push(at.error(problem));
        } else if key == "path" {
            cookie = cookie.path(value);
        } else {
            cookie = cookie.domain(value);
        }
    }
    cookie.max_age = raw.max_age.map(|age| age.get().min(NEVER));
    if raw.secure {
        cookie = cookie.secure();
    }
    if raw.http_only {
        cookie = cookie.http_only();
    }
    match raw.same_site {
        None => cookie,
        Some(SameSite::Strict) => cookie.same_site(Site::Strict),
        Some(SameSite::Lax) => cookie.same_site(Site::Lax),
        Some(SameSite::None) => {
            if !raw.secure {
                let problem = at.warning("browsers refuse cookies with `same_site: none`");
                problems.push(problem.hint("write `secure: true` beside it"));
            }
            cookie.same_site(Site::None)
        }
    }
}

/// A cookie's name is a token as a header's is (RFC 6265, section 4.1.1), but its case counts.
fn cookie_name<T>(name: &str, at: &Located<T>, problems: &mut Findings<'_>) {
    if HeaderName::from_bytes(name.as_bytes()).is_err() {
        problems.push(at.error(format!("`{name}` is not a cookie name")));
    }
}

fn header<T>(name: &str, at: &Located<T>, problems: &mut Findings<'_>) -> Option<HeaderName> {
    let header = HeaderName::from_bytes(name.as_bytes());
    if header.is_err() {
        problems.push(at.error(format!("`{name}` is not a header name")));
    }
    header.ok()
}
