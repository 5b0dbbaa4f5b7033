//! What keeps clients where they were: hash keys, and tokens that name an endpoint or a backend.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::SET_COOKIE;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{CookieSpec, HashKey, outgoing};
use crate::balance::{PickCx, combine_hashes, rng, stable_hash};
use crate::exchange::{Exchange, ExchangeState};
use crate::principal::Principal;
use crate::route::query;

/// Clocks of gateways that share clients may differ by as much.
const SKEW: Duration = Duration::from_secs(60);

/// A field that tells the client what to come back with.
pub(crate) type Mark = (HeaderName, HeaderValue);

/// What the reply is to tell the client. A further attempt replaces what the one before it wanted to say.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    pub(super) backend: Option<Mark>,
    pub(super) endpoint: Option<Mark>,
    key: Option<Mark>,
}

impl Marks {
    pub(super) fn of(state: &mut ExchangeState) -> &mut Self {
        state.marks.get_or_insert_default()
    }

    /// Forgets what an earlier attempt wanted to say about its endpoint.
    pub(super) fn begin_attempt(exchange: &Exchange) {
        if let Some(marks) = &mut exchange.state().marks {
            (marks.endpoint, marks.key) = (None, None);
        }
    }

    /// Writes what is to be said of the endpoint.
    pub(super) fn write_endpoint(exchange: &Exchange, headers: &mut HeaderMap) {
        let mut state = exchange.state();
        if let Some(marks) = &mut state.marks {
            write([marks.endpoint.take(), marks.key.take()], headers);
        }
    }

    /// Writes what is to be said of the backend.
    pub(super) fn write_backend(exchange: &Exchange, headers: &mut HeaderMap) {
        let mut state = exchange.state();
        if let Some(marks) = &mut state.marks {
            write([marks.backend.take()], headers);
        }
    }
}

fn write(marks: impl IntoIterator<Item = Option<Mark>>, headers: &mut HeaderMap) {
    for (name, value) in marks.into_iter().flatten() {
        if name == SET_COOKIE {
            headers.append(name, value);
        } else {
            headers.insert(name, value);
        }
    }
}

/// The hash of the first of `keys` that the request has.
pub(super) fn hash(keys: &[HashKey], parts: &Parts, exchange: &Exchange) -> Option<u64> {
    keys.iter().find_map(|key| match key {
        HashKey::ClientIp => exchange.client_ip().map(hash_address),
        HashKey::Header(name) => parts
            .headers
            .get(name)
            .map(|value| stable_hash(value.as_bytes())),
        HashKey::Cookie(name) => {
            outgoing::cookie(&parts.headers, name).map(|value| stable_hash(value.as_bytes()))
        }
        HashKey::IssuedCookie(cookie) => {
            Some(match outgoing::cookie(&parts.headers, &cookie.name) {
                Some(value) => stable_hash(value.as_bytes()),
                None => issue_key(cookie, exchange),
            })
        }
        HashKey::Query(name) => {
            query::first_value(parts.uri.query()?, name).map(|value| stable_hash(&value))
        }
        HashKey::Path => Some(stable_hash(parts.uri.path().as_bytes())),
        HashKey::PathCapture(pattern) => pattern
            .capture(parts.uri.path())
            .map(|part| stable_hash(part.as_bytes())),
        HashKey::Principal => exchange.state().principal.as_ref().map(hash_principal),
    })
}

/// Of its text, as it always was: the same client goes to the same endpoint after an update of the gateway.
fn hash_address(address: IpAddr) -> u64 {
    let mut text = [0_u8; 48];
    let mut rest = &mut text[..];
    // The longest address has 45 characters.
    let _ = write!(rest, "{}", address.to_canonical());
    let left = rest.len();
    stable_hash(text.get(..text.len() - left).unwrap_or_default())
}

/// Of what makes two principals equal.
fn hash_principal(principal: &Principal) -> u64 {
    let kind = stable_hash(principal.kind().as_str().as_bytes());
    let domain = stable_hash(principal.trust_domain().unwrap_or_default().as_bytes());
    let id = stable_hash(principal.id().as_bytes());
    combine_hashes(combine_hashes(kind, domain), id)
}

/// Makes up a key for a client that has none, and tells it.
fn issue_key(cookie: &CookieSpec, exchange: &Exchange) -> u64 {
    let random = PickCx::new();
    let value = format!("{:016x}{:016x}", random.random(), random.random());
    if let Some(field) = cookie.set(&value, cookie.max_age) {
        Marks::of(&mut exchange.state()).key = Some((SET_COOKIE, field));
    }
    stable_hash(value.as_bytes())
}

/// How clients are kept on an endpoint or a backend: by a token that they are given and come back with.
///
/// A token is a hash, so it shows no address. It is no secret and proves nothing: a client that makes one up chooses
/// among the endpoints that it could have been given, and no others.
#[derive(Clone, Debug)]
pub struct Sticky {
    carrier: Carrier,
    salt: u64,
    absolute: Option<Duration>,
    idle: Option<Duration>,
}

#[derive(Clone, Debug)]
enum Carrier {
    Cookie(CookieSpec),
    Header(HeaderName),
}

/// What a client came back with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pin {
    /// The fingerprint of what it was given.
    pub(super) to: u64,
    /// When it was given that, in milliseconds since 1970.
    issued: u64,
    /// When it was last here, about.
    used: u64,
}

impl Sticky {
    /// Tokens in a cookie. `scope` is the name of what the client is kept on: tokens of one scope mean nothing in another.
    #[must_use]
    pub fn cookie(cookie: CookieSpec, scope: &str) -> Self {
        Self::new(Carrier::Cookie(cookie), scope)
    }

    /// Tokens in a header field, which clients copy from replies to their requests.
    #[must_use]
    pub fn header(name: HeaderName, scope: &str) -> Self {
        Self::new(Carrier::Header(name), scope)
    }

    fn new(carrier: Carrier, scope: &str) -> Self {
        Self {
            carrier,
            salt: stable_hash(scope.as_bytes()),
            absolute: None,
            idle: None,
        }
    }

    /// How long a client stays at most.
    #[must_use]
    pub fn absolute_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.absolute = timeout;
        self
    }

    /// How long a client that sends nothing stays.
    #[must_use]
    pub fn idle_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.idle = timeout;
        self
    }

    /// What the client came back with, if that still counts.
    pub(super) fn pin(&self, headers: &HeaderMap) -> Option<Pin> {
        let token = match &self.carrier {
            Carrier::Cookie(cookie) => outgoing::cookie(headers, &cookie.name)?,
            Carrier::Header(name) => headers.get(name)?.to_str().ok()?,
        };
        let pin = self.read(token)?;
        if !self.is_timed() {
            return Some(pin);
        }
        let now = now();
        let fresh = |since: u64, limit: Option<Duration>| {
            limit.is_none_or(|limit| now.saturating_sub(since) < millis(limit))
        };
        let sane = pin.issued.max(pin.used) <= now.saturating_add(millis(SKEW));
        (sane && fresh(pin.issued, self.absolute) && fresh(pin.used, self.idle)).then_some(pin)
    }

    /// The field that gives a client this fingerprint.
    pub(super) fn issue(&self, to: u64) -> Option<Mark> {
        let now = if self.is_timed() { now() } else { 0 };
        self.mark(Pin {
            to,
            issued: now,
            used: now,
        })
    }

    /// The field that says that the client was here, if it is time to say it again.
    pub(super) fn renew(&self, pin: Pin) -> Option<Mark> {
        let idle = self.idle?;
        let now = now();
        // Not with every reply: the time need not be exact.
        (now.saturating_sub(pin.used) > millis(idle) / 8)
            .then(|| self.mark(Pin { used: now, ..pin }))?
    }

    fn mark(&self, pin: Pin) -> Option<Mark> {
        let token = self.write(pin);
        match &self.carrier {
            Carrier::Cookie(cookie) => {
                let left = self.absolute.map(|absolute| {
                    let age = Duration::from_millis(pin.used.saturating_sub(pin.issued));
                    absolute.saturating_sub(age)
                });
                let max_age = cookie
                    .max_age
                    .map(|max_age| left.map_or(max_age, |left| left.min(max_age)));
                Some((SET_COOKIE, cookie.set(&token, max_age)?))
            }
            Carrier::Header(name) => {
                let token = HeaderValue::from_maybe_shared(bytes::Bytes::from(token));
                Some((name.clone(), token.ok()?))
            }
        }
    }

    fn is_timed(&self) -> bool {
        self.absolute.is_some() || self.idle.is_some()
    }

    /// Sixteen hexadecimal digits, and the times behind them if they matter.
    fn write(&self, pin: Pin) -> String {
        let mut token = format!("{:016x}", rng::mix(pin.to ^ self.salt));
        if self.is_timed() {
            let _ = write!(token, "-{:x}-{:x}", pin.issued, pin.used);
        }
        token
    }

    fn read(&self, token: &str) -> Option<Pin> {
        let hex = |text: &str| {
            let digits = (1..=16).contains(&text.len())
                && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            digits.then(|| u64::from_str_radix(text, 16).ok())?
        };
        let mut parts = token.split('-');
        let to = parts.next().filter(|to| to.len() == 16).and_then(hex)?;
        let mut times = [0, 0];
        if self.is_timed() {
            for time in &mut times {
                *time = parts.next().and_then(hex)?;
            }
        }
        let [issued, used] = times;
        parts.next().is_none().then_some(Pin {
            to: rng::unmix(to) ^ self.salt,
            issued,
            used,
        })
    }
}

/// Milliseconds since 1970: tokens outlive the process.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map(millis).unwrap_or_default()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Sticky {
        Sticky::header(HeaderName::from_static("x-pin"), "orders")
    }

    fn with(token: &str) -> HeaderMap {
        let value = HeaderValue::from_str(token).unwrap();
        HeaderMap::from_iter([(HeaderName::from_static("x-pin"), value)])
    }

    #[test]
    fn a_token_comes_back_as_what_it_was_made_of() {
        for sticky in [header(), header().idle_timeout(Some(SKEW))] {
            let (name, value) = sticky.issue(42).unwrap();
            let headers = HeaderMap::from_iter([(name, value)]);
            assert_eq!(sticky.pin(&headers).unwrap().to, 42);
        }
    }

    #[test]
    fn tokens_of_one_scope_mean_nothing_in_another() {
        let (name, value) = header().issue(42).unwrap();
        let other = Sticky::header(HeaderName::from_static("x-pin"), "carts");
        let pin = other.pin(&HeaderMap::from_iter([(name, value)])).unwrap();
        assert_ne!(pin.to, 42);
    }

    #[test]
    fn what_is_no_token_is_nothing() {
        for wrong in [
            "",
            "1",
            "-",
            "000000000000002G",
            "000000000000002a-",
            "+00000000000002a",
            "000000000000002a00",
        ] {
            assert_eq!(header().pin(&with(wrong)), None, "{wrong}");
        }
        let timed = header().idle_timeout(Some(SKEW));
        for wrong in [
            "000000000000002a",
            "000000000000002a-1",
            "000000000000002a-1-2-3",
        ] {
            assert_eq!(timed.pin(&with(wrong)), None, "{wrong}");
        }
    }

    #[test]
    fn tokens_end_with_their_times() {
        let timed = header()
            .idle_timeout(Some(Duration::from_secs(100)))
            .absolute_timeout(Some(Duration::from_secs(1000)));
        let ago = |seconds: u64| now() - seconds * 1000;
        let alive = |issued, used| {
            let token = timed.write(Pin {
                to: 1,
                issued,
                used,
            });
            timed.pin(&with(&token)).is_some()
        };
        assert!(alive(ago(900), ago(50)));
        assert!(!alive(ago(900), ago(200)), "idle");
        assert!(!alive(ago(2000), ago(0)), "too old");
        assert!(
            !alive(now() + 3_600_000, ago(0)),
            "from a future that is no skew"
        );
    }

    #[test]
    fn the_time_of_a_visit_is_written_now_and_then() {
        let timed = header().idle_timeout(Some(Duration::from_secs(80)));
        let pin = |seconds: u64| Pin {
            to: 1,
            issued: 0,
            used: now() - seconds * 1000,
        };
        assert!(timed.renew(pin(1)).is_none());
        assert!(timed.renew(pin(20)).is_some());
        assert!(header().renew(pin(20)).is_none());
    }

    #[test]
    fn addresses_are_hashed_by_their_text() {
        for text in ["192.0.2.7", "2001:db8:1234:5678:9abc:def0:1234:5678"] {
            assert_eq!(
                hash_address(text.parse().unwrap()),
                stable_hash(text.as_bytes())
            );
        }
        let mapped = "::ffff:192.0.2.7".parse().unwrap();
        assert_eq!(hash_address(mapped), stable_hash(b"192.0.2.7"));
    }
}
