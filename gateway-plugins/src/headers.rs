//! `headers`: sets, adds and removes header fields of requests and replies.
//!
//! ```yaml
//! - type: headers
//!   request: { set: { x-canary: "1" }, remove: [x-debug] }
//!   response: { add: { vary: [accept, origin] } }
//! ```
//!
//! Changes of replies apply to every reply that passes: the upstream's, those of inner filters and errors.
//! A request's `host` may be set, which changes what the upstream is asked for unless the upstream has a host
//! of its own; the route stays the one that was chosen. Fields that frame a message (`content-length`,
//! `connection`, ...) are refused.

use std::collections::BTreeMap;

use http::header::HOST;
use http::{HeaderMap, HeaderName, HeaderValue};
use portcullis_core::GatewayError;
use portcullis_core::filter::{
    BuildCx, BuildError, FilterFactory, Flow, HeadFilter, Phase, RequestHead, ResponseHead, Stage,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::values::{FieldName, FieldValues, split_authority};

/// Settings of [`Headers`].
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct HeadersConfig {
    /// Changes of the request on its way to the upstream.
    pub request: HeaderChanges,
    /// Changes of the reply on its way to the client.
    pub response: HeaderChanges,
}

/// Changes of one head. Removing comes first, then setting, then adding.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct HeaderChanges {
    /// Fields that get this value, or these values, and lose those they had.
    pub set: BTreeMap<FieldName, FieldValues>,
    /// Fields that get this value, or these values, beside those they have.
    pub add: BTreeMap<FieldName, FieldValues>,
    /// Names of fields that are removed.
    pub remove: Vec<FieldName>,
}

/// The filter. See the [module](self).
#[derive(Clone, Debug)]
pub struct Headers {
    request: Changes,
    response: Changes,
}

impl FilterFactory for Headers {
    const NAME: &'static str = "headers";
    type Config = HeadersConfig;

    fn build(config: HeadersConfig, _: &BuildCx<'_>) -> Result<Stage, BuildError> {
        check_host(&config.request)?;
        let request = Changes::new("request", &config.request)?;
        let response = Changes::new("response", &config.response)?;
        if request.is_empty() && response.is_empty() {
            return Err(BuildError::new("nothing to change").hint("give `request` or `response`"));
        }
        Ok(Stage::head(Self::NAME, Self { request, response }).with_phase(Phase::Transform))
    }
}

impl HeadFilter for Headers {
    fn on_request(&self, head: &mut RequestHead<'_>) -> Result<Flow, GatewayError> {
        self.request.apply(head.headers_mut());
        Ok(Flow::Continue)
    }

    fn on_response(&self, head: &mut ResponseHead<'_>) -> Result<(), GatewayError> {
        self.response.apply(head.headers_mut());
        Ok(())
    }
}

/// One change that is ready to be made.
#[derive(Clone, Debug)]
enum Change {
    Remove(HeaderName),
    Set(HeaderName, HeaderValue),
    Add(HeaderName, HeaderValue),
}

/// Changes in the order in which they are made.
#[derive(Clone, Debug)]
struct Changes(Box<[Change]>);

impl Changes {
    fn new(key: &str, config: &HeaderChanges) -> Result<Self, BuildError> {
        let mut changes: Vec<Change> = config
            .remove
            .iter()
            .map(|name| Change::Remove(name.get().clone()))
            .collect();
        for (name, values) in &config.set {
            let mut values = values.iter().cloned();
            let first = values.next().ok_or_else(|| {
                let name = name.get();
                BuildError::new(format!("`set` gives `{name}` no value"))
                    .at(key)
                    .hint("use `remove`")
            })?;
            changes.push(Change::Set(name.get().clone(), first));
            changes.extend(values.map(|value| Change::Add(name.get().clone(), value)));
        }
        for (name, values) in &config.add {
            let added = values.iter().cloned();
            changes.extend(added.map(|value| Change::Add(name.get().clone(), value)));
        }
        Ok(Self(changes.into()))
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn apply(&self, headers: &mut HeaderMap) {
        for change in &self.0 {
            match change {
                Change::Remove(name) => {
                    headers.remove(name);
                }
                Change::Set(name, value) => {
                    headers.insert(name, value.clone());
                }
                Change::Add(name, value) => {
                    headers.append(name, value.clone());
                }
            }
        }
    }
}

/// A request has exactly one `Host` (RFC 9112 3.2), and it is an authority.
fn check_host(changes: &HeaderChanges) -> Result<(), BuildError> {
    let fail = |message: &str| Err(BuildError::new(message).at("request"));
    let is_host = |name: &FieldName| *name.get() == HOST;
    if changes.remove.iter().chain(changes.add.keys()).any(is_host) {
        return fail("a request has exactly one `host`: it can be set, not added or removed");
    }
    for (_, values) in changes.set.iter().filter(|(name, _)| is_host(name)) {
        let mut texts = values.iter().map(|value| value.to_str().ok());
        let valid = texts.next().flatten().and_then(split_authority).is_some();
        if !valid || texts.next().is_some() {
            return fail("`host` must be one host such as shop.example or shop.example:8080");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
