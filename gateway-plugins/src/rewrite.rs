//! `rewrite`: changes path and host of the request that goes upstream.
//!
//! ```yaml
//! - { type: rewrite, path: { prefix: /v2 } }
//! - { type: rewrite, path: { regex: { pattern: "^/users/([0-9]+)", replacement: "/user/$1" } }, host: users.internal }
//! ```
//!
//! The query stays as it is. The route stays the one that was chosen by the path before the change. The new path
//! is normalised again: groups of an expression may put dot segments together (`/a/..%2Fb` with `%2F` replaced by
//! a slash becomes `/b`), and the upstream must not be the first to see them. A request whose new path cannot be
//! normalised is answered with 400, reason `rewrite_failed`. A path that the change does not concern (another
//! prefix, no match) is left alone.

use bytes::Bytes;
use http::header::HOST;
use http::uri::PathAndQuery;
use http::{HeaderValue, Uri};
use portcullis_core::error::BoxError;
use portcullis_core::filter::{
    BuildCx, BuildError, FilterFactory, Flow, HeadFilter, Phase, RequestHead, Stage,
};
use portcullis_core::select::MatchedPrefix;
use portcullis_core::{ErrorClass, GatewayError};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::path_rule::{PathChange, PathRule};
use crate::values::Authority;

/// Settings of [`Rewrite`]. At least one of the keys.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct RewriteConfig {
    /// How the path changes. Default: not at all.
    pub path: Option<PathChange>,
    /// The host the upstream is asked for, in `Host`, unless the upstream has a host of its own. Default: as the
    /// client named it.
    pub host: Option<Authority>,
}

/// The filter. See the [module](self).
#[derive(Clone, Debug)]
pub struct Rewrite {
    path: Option<PathRule>,
    host: Option<HeaderValue>,
}

impl FilterFactory for Rewrite {
    const NAME: &'static str = "rewrite";
    type Config = RewriteConfig;

    fn build(config: RewriteConfig, _: &BuildCx<'_>) -> Result<Stage, BuildError> {
        if config.path.is_none() && config.host.is_none() {
            return Err(BuildError::new("nothing to rewrite").hint("give `path` or `host`"));
        }
        let path = config.path.as_ref().map(PathRule::new).transpose()?;
        let host = config
            .host
            .map(|host| HeaderValue::try_from(host.to_string()));
        let host = host.transpose().map_err(|error| {
            BuildError::new("`host` is not a header value")
                .at("host")
                .with_source(error)
        })?;
        Ok(Stage::head(Self::NAME, Self { path, host }).with_phase(Phase::Transform))
    }
}

impl HeadFilter for Rewrite {
    fn sees_forwarded(&self) -> bool {
        false
    }

    fn on_request(&self, head: &mut RequestHead<'_>) -> Result<Flow, GatewayError> {
        if let Some(rule) = &self.path {
            rewrite_path(rule, head)?;
        }
        if let Some(host) = &self.host {
            head.headers_mut().insert(HOST, host.clone());
        }
        Ok(Flow::Continue)
    }
}

fn rewrite_path(rule: &PathRule, head: &mut RequestHead<'_>) -> Result<(), GatewayError> {
    let path = head.uri().path();
    // `OPTIONS *` (RFC 9110 9.3.7) is about the server, not about a path of it.
    if path == "*" {
        return Ok(());
    }
    let matched = head
        .extensions()
        .get()
        .map(|MatchedPrefix(prefix)| &**prefix);
    let changed = rule
        .apply(path, matched)
        .map_err(|error| failed(error.into()))?;
    let Some(mut target) = changed else {
        return Ok(());
    };
    if let Some(query) = head.uri().query() {
        target.reserve_exact(query.len() + 1);
        target.push('?');
        target.push_str(query);
    }
    let target = PathAndQuery::from_maybe_shared(Bytes::from(target))
        .map_err(|error| failed(error.into()))?;
    *head.uri_mut() = Uri::from(target);
    // Another rewrite further in, of a backend say, goes on from here.
    if let PathRule::Prefix(new) = rule
        && let Some(MatchedPrefix(prefix)) = head.extensions_mut().get_mut()
    {
        prefix.clone_from(&new.matched);
    }
    Ok(())
}

fn failed(cause: BoxError) -> GatewayError {
    GatewayError::new(ErrorClass::BadRequest, "rewriting the path")
        .with_reason("rewrite_failed")
        .with_source(cause)
}

#[cfg(test)]
mod tests;
