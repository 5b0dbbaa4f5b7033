//! `redirect`: sends the client elsewhere.
//!
//! ```yaml
//! - { type: redirect, scheme: https, status: 308 }
//! - { type: redirect, host: www.shop.example, path: { prefix: /new }, query: drop }
//! ```
//!
//! `Location` is made of the settings and, for what they leave out, of the request's own scheme, host and path;
//! nothing else of the request can choose where it leads. It is absolute whenever a host is known, so that a path
//! like `//other.example` stays a path. A request that already is where it would be sent passes, which makes
//! `scheme: https` safe on a listener that serves both; so does one that a `strip` or `regex` does not concern.

use bytes::Bytes;
use http::header::{HOST, LOCATION};
use http::{HeaderValue, StatusCode};
use portcullis_core::filter::{
    BuildCx, BuildError, FilterFactory, Flow, HeadFilter, Phase, RequestHead, Stage,
};
use portcullis_core::select::MatchedPrefix;
use portcullis_core::{ErrorClass, GatewayError, Response};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::path_rule::{PathChange, PathRule};
use crate::values::{Authority, split_authority};

/// Settings of [`Redirect`]. At least one of `scheme`, `host`, `port` and `path`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct RedirectConfig {
    /// The new scheme, `http` or `https`. Default: the client's.
    pub scheme: Option<Scheme>,
    /// The new host, without port. Default: the host the client named.
    pub host: Option<Authority>,
    /// The new port. Default: the usual one of `scheme` if that is set, else the port the client named.
    pub port: Option<u16>,
    /// How the path changes. Default: not at all.
    pub path: Option<PathChange>,
    /// Whether the query goes along: `keep` or `drop`. Default: `keep`.
    pub query: QueryPolicy,
    /// 301, 302, 303, 307 or 308. 307 and 308 keep method and body (RFC 9110 15.4), 301 and 308 may be
    /// remembered for good. Default: 302.
    pub status: Option<u16>,
}

/// The scheme of a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    /// Plain HTTP.
    Http,
    /// HTTP over TLS.
    Https,
}

/// What becomes of the query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum QueryPolicy {
    /// It goes along.
    #[default]
    Keep,
    /// It is left out.
    Drop,
}

/// The filter. See the [module](self).
#[derive(Clone, Debug)]
pub struct Redirect {
    scheme: Option<Scheme>,
    host: Option<Box<str>>,
    port: Option<u16>,
    path: Option<PathRule>,
    query: QueryPolicy,
    status: StatusCode,
}

impl FilterFactory for Redirect {
    const NAME: &'static str = "redirect";
    type Config = RedirectConfig;

    fn build(config: RedirectConfig, _: &BuildCx<'_>) -> Result<Stage, BuildError> {
        let nowhere = config.scheme.is_none()
            && config.host.is_none()
            && config.port.is_none()
            && config.path.is_none();
        if nowhere {
            return Err(BuildError::new("nowhere to redirect to")
                .hint("give `scheme`, `host`, `port` or `path`"));
        }
        if config
            .host
            .as_ref()
            .is_some_and(|host| host.port().is_some())
        {
            return Err(BuildError::new("`host` is a name without port")
                .at("host")
                .hint("write the port as `port`"));
        }
        if config.port == Some(0) {
            return Err(BuildError::new("`port` must not be 0").at("port"));
        }
        let status = match config.status.unwrap_or(302) {
            code @ (301 | 302 | 303 | 307 | 308) => StatusCode::from_u16(code).ok(),
            _ => None,
        };
        let status = status.ok_or_else(|| {
            BuildError::new("`status` must be 301, 302, 303, 307 or 308").at("status")
        })?;
        let filter = Self {
            scheme: config.scheme,
            host: config.host.map(|host| host.host().into()),
            port: config.port,
            path: config.path.as_ref().map(PathRule::new).transpose()?,
            query: config.query,
            status,
        };
        Ok(Stage::head(Self::NAME, filter).with_phase(Phase::Transform))
    }
}

impl HeadFilter for Redirect {
    fn sees_forwarded(&self) -> bool {
        false
    }

    fn on_request(&self, head: &mut RequestHead<'_>) -> Result<Flow, GatewayError> {
        let Some(location) = self.location(head)? else {
            return Ok(Flow::Continue);
        };
        let location = HeaderValue::from_maybe_shared(Bytes::from(location))
            .map_err(|error| GatewayError::internal("making a redirect").with_source(error))?;
        let mut response = Response::default();
        *response.status_mut() = self.status;
        response.headers_mut().insert(LOCATION, location);
        head.exchange().state().reason = Some("redirect".into());
        Ok(Flow::Reply(response))
    }
}

impl Redirect {
    /// Where the request is sent; `None` when it stays.
    fn location(&self, head: &RequestHead<'_>) -> Result<Option<String>, GatewayError> {
        let uri = head.uri();
        let old_path = uri.path();
        // `OPTIONS *` (RFC 9110 9.3.7) has no path to send anybody to.
        if old_path == "*" {
            return Ok(None);
        }
        let matched = head
            .extensions()
            .get()
            .map(|MatchedPrefix(prefix)| &**prefix);
        let new_path = match &self.path {
            None => None,
            Some(rule) => match rule.apply(old_path, matched).map_err(failed)? {
                None => return Ok(None),
                Some(path) => Some(path),
            },
        };
        let path = new_path.as_deref().unwrap_or(old_path);
        let query = match self.query {
            QueryPolicy::Keep => uri.query(),
            QueryPolicy::Drop => None,
        };
        let old = Origin::of(head);
        let new = Origin {
            scheme: self.scheme.unwrap_or(old.scheme),
            host: self.host.as_deref().or(old.host),
            port: match (self.port, self.scheme) {
                (Some(port), _) => Some(port),
                (None, Some(_)) => None,
                (None, None) => old.port,
            },
        };
        if new.is(&old) && path == old_path && query == uri.query() {
            return Ok(None);
        }
        let length = 32 + new.host.map_or(0, str::len) + path.len() + query.map_or(0, str::len);
        let mut location = String::with_capacity(length);
        if let Some(host) = new.host {
            location.push_str(new.scheme.as_str());
            location.push_str("://");
            location.push_str(host);
            if let Some(port) = new.port.filter(|port| *port != new.scheme.port()) {
                location.push(':');
                location.push_str(&port.to_string());
            }
            push_encoded(&mut location, path);
        } else {
            // Without a host in front, a second slash would begin one (RFC 3986 4.2).
            location.push('/');
            push_encoded(&mut location, path.trim_start_matches('/'));
        }
        if let Some(query) = query {
            location.push('?');
            push_encoded(&mut location, query);
        }
        Ok(Some(location))
    }
}

/// The part of a URL before its path.
struct Origin<'a> {
    scheme: Scheme,
    /// `None` when the client named none, or none that is fit for a URL.
    host: Option<&'a str>,
    port: Option<u16>,
}

impl<'a> Origin<'a> {
    fn of(head: &'a RequestHead<'_>) -> Self {
        let scheme = match head.exchange().state().scheme {
            "https" => Scheme::Https,
            _ => Scheme::Http,
        };
        let host = head.headers().get(HOST).and_then(|host| host.to_str().ok());
        let (host, port) = host.and_then(split_authority).unzip();
        Self {
            scheme,
            host,
            port: port.flatten(),
        }
    }

    fn is(&self, other: &Self) -> bool {
        let same_host = match (self.host, other.host) {
            (Some(one), Some(other)) => one.eq_ignore_ascii_case(other),
            (None, None) => true,
            _ => false,
        };
        let port = |origin: &Self| origin.port.unwrap_or(origin.scheme.port());
        self.scheme == other.scheme && same_host && port(self) == port(other)
    }
}

impl Scheme {
    fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// Appends text, every byte that no URL may hold (RFC 3986 2) as an escape.
fn push_encoded(out: &mut String, text: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_graphic()
            && !matches!(
                byte,
                b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' | b'#'
            )
        {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

fn failed(cause: portcullis_core::hygiene::PathError) -> GatewayError {
    GatewayError::new(ErrorClass::BadRequest, "making the path of a redirect")
        .with_reason("redirect_failed")
        .with_source(cause)
}

#[cfg(test)]
mod tests;
