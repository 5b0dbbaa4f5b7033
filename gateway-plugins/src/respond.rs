//! `respond`: answers itself, so that nothing goes upstream.
//!
//! ```yaml
//! - { type: respond, status: 503, headers: { retry-after: "60" }, body: "back in a minute\n" }
//! - { type: respond, json: { status: ok } }
//! ```
//!
//! Filters before it see the reply on its way out; filters behind it are never asked.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use portcullis_core::config::Captured;
use portcullis_core::filter::{
    BuildCx, BuildError, FilterFactory, Flow, HeadFilter, Phase, RequestHead, Stage,
};
use portcullis_core::{Body, GatewayError, Response};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::values::{FieldName, FieldValue, FieldValues};

/// Settings of [`Respond`].
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct RespondConfig {
    /// The status, from 200 to 599. Default: 200.
    pub status: Option<u16>,
    /// Header fields of the reply: a value or a list of values each.
    pub headers: BTreeMap<FieldName, FieldValues>,
    /// The body as text. Default: none.
    pub body: Option<String>,
    /// The body as any value, which is sent as JSON. Instead of `body`, not beside it.
    pub json: Option<Captured>,
    /// The media type of the body. Default: `text/plain; charset=utf-8`, for `json` `application/json`.
    pub content_type: Option<FieldValue>,
}

/// The filter. See the [module](self).
#[derive(Clone, Debug)]
pub struct Respond {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl FilterFactory for Respond {
    const NAME: &'static str = "respond";
    type Config = RespondConfig;

    fn build(config: RespondConfig, _: &BuildCx<'_>) -> Result<Stage, BuildError> {
        let status = config.status.unwrap_or(200);
        let status = StatusCode::from_u16(status)
            .ok()
            .filter(|_| (200..600).contains(&status))
            .ok_or_else(|| {
                BuildError::new("`status` must be from 200 to 599")
                    .at("status")
                    .hint("write a status such as 404")
            })?;
        let mut headers = HeaderMap::new();
        for (name, values) in &config.headers {
            for value in values.iter() {
                headers.append(name.get().clone(), value.clone());
            }
        }
        let (body, usual_type) = match (config.body, &config.json) {
            (Some(_), Some(_)) => {
                return Err(
                    BuildError::new("`json` stands instead of `body`, not beside it").at("json"),
                );
            }
            (Some(text), None) => (Bytes::from(text), "text/plain; charset=utf-8"),
            (None, Some(value)) => {
                let mut text = value.node().to_json().to_string();
                text.push('\n');
                (Bytes::from(text), "application/json")
            }
            (None, None) => (Bytes::new(), ""),
        };
        // RFC 9110 15.3.5, 15.3.6 and 15.4.5.
        if matches!(status.as_u16(), 204 | 205 | 304) && !body.is_empty() {
            let message = format!("a reply with status {} has no body", status.as_u16());
            return Err(BuildError::new(message).at("status"));
        }
        match config.content_type {
            Some(_) if headers.contains_key(CONTENT_TYPE) => {
                let message = "`content_type` stands instead of a `content-type` in `headers`";
                return Err(BuildError::new(message).at("content_type"));
            }
            Some(value) => {
                headers.insert(CONTENT_TYPE, value.get().clone());
            }
            None if !body.is_empty() => {
                headers
                    .entry(CONTENT_TYPE)
                    .or_insert(HeaderValue::from_static(usual_type));
            }
            None => {}
        }
        let filter = Self {
            status,
            headers,
            body,
        };
        Ok(Stage::head(Self::NAME, filter).with_phase(Phase::Transform))
    }
}

impl HeadFilter for Respond {
    fn sees_forwarded(&self) -> bool {
        false
    }

    fn on_request(&self, head: &mut RequestHead<'_>) -> Result<Flow, GatewayError> {
        let mut response = Response::new(Body::from(self.body.clone()));
        *response.status_mut() = self.status;
        response.headers_mut().clone_from(&self.headers);
        head.exchange().state().reason = Some("direct_response".into());
        Ok(Flow::Reply(response))
    }
}

#[cfg(test)]
mod tests;
