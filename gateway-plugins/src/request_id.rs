//! `request-id`: gives each request a name that shows up in every log.
//!
//! ```yaml
//! - { type: request-id }
//! - { type: request-id, header: x-correlation-id, accept: always, format: uuid7 }
//! ```
//!
//! The id goes upstream, into the access log and, unless told otherwise, back to the client, also on errors. It
//! names a request and protects nothing: it is random, but not a secret.

use std::time::UNIX_EPOCH;

use bytes::Bytes;
use http::header::InvalidHeaderValue;
use http::{HeaderMap, HeaderName, HeaderValue};
use portcullis_core::GatewayError;
use portcullis_core::clock::Clock;
use portcullis_core::filter::{
    BuildCx, BuildError, FilterFactory, Flow, HeadFilter, Phase, RequestHead, ResponseHead, Stage,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::random;
use crate::values::FieldName;

/// Longest id that is taken over from a request, in bytes.
const MAX_LENGTH: usize = 128;

/// Settings of [`RequestId`].
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct RequestIdConfig {
    /// The field that carries the id. Default: `x-request-id`.
    pub header: Option<FieldName>,
    /// From whom an id that the request brings along is taken over: `never`, `trusted` (a proxy of
    /// `trusted_proxies` that said who its client is) or `always`. Only ids of up to 128 visible ASCII characters
    /// are. Default: `trusted`.
    pub accept: Accept,
    /// What new ids look like: `hex` (32 digits), `uuid` (version 4) or `uuid7` (version 7, which sorts by time).
    /// Default: `uuid`.
    pub format: IdFormat,
    /// Whether the reply carries the id too. Default: `true`.
    pub echo: bool,
}

impl Default for RequestIdConfig {
    fn default() -> Self {
        Self {
            header: None,
            accept: Accept::default(),
            format: IdFormat::default(),
            echo: true,
        }
    }
}

/// From whom an id is taken over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Accept {
    /// Nobody: every id is new.
    Never,
    /// A trusted proxy that said who its client is.
    #[default]
    Trusted,
    /// Anybody. Clients can then make two requests look like one in logs.
    Always,
}

/// What new ids look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum IdFormat {
    /// 32 hexadecimal digits, all random.
    Hex,
    /// A random UUID (RFC 9562 5.4).
    #[default]
    Uuid,
    /// A UUID that begins with the time in milliseconds (RFC 9562 5.7).
    Uuid7,
}

/// The filter. See the [module](self).
#[derive(Clone, Debug)]
pub struct RequestId {
    header: HeaderName,
    accept: Accept,
    format: IdFormat,
    echo: bool,
}

impl FilterFactory for RequestId {
    const NAME: &'static str = "request-id";
    type Config = RequestIdConfig;

    fn build(config: RequestIdConfig, _: &BuildCx<'_>) -> Result<Stage, BuildError> {
        let header = config
            .header
            .map_or(HeaderName::from_static("x-request-id"), |name| {
                name.get().clone()
            });
        let filter = Self {
            header,
            accept: config.accept,
            format: config.format,
            echo: config.echo,
        };
        Ok(Stage::head(Self::NAME, filter).with_phase(Phase::Observe))
    }
}

impl HeadFilter for RequestId {
    fn on_request(&self, head: &mut RequestHead<'_>) -> Result<Flow, GatewayError> {
        let mut state = head.exchange().state();
        let take = match self.accept {
            Accept::Never => false,
            Accept::Trusted => state.client_ip_forwarded,
            Accept::Always => true,
        };
        // A request has one id: one given further out stays.
        if state.request_id.is_none()
            && take
            && let Some(brought) = self.brought(head.headers())
        {
            state.request_id = Some(brought.clone());
            return Ok(Flow::Continue);
        }
        let id = match &state.request_id {
            Some(id) => id.clone(),
            None => {
                let mut id = self.format.make().map_err(|error| {
                    GatewayError::internal("writing a request id").with_source(error)
                })?;
                // No secret, but not to be entered into the tables of HTTP/2 (RFC 7541 6.2.3): it does not come
                // again, and would only displace what does.
                id.set_sensitive(true);
                state.request_id = Some(id.clone());
                id
            }
        };
        drop(state);
        head.headers_mut().insert(&self.header, id);
        Ok(Flow::Continue)
    }

    fn sees_forwarded(&self) -> bool {
        false
    }

    fn on_response(&self, head: &mut ResponseHead<'_>) -> Result<(), GatewayError> {
        if !self.echo {
            return Ok(());
        }
        let id = head.exchange().state().request_id.clone();
        if let Some(id) = id {
            head.headers_mut().insert(&self.header, id);
        }
        Ok(())
    }
}

impl RequestId {
    /// The one id that a request brings along, if it is fit for logs.
    fn brought<'a>(&self, headers: &'a HeaderMap) -> Option<&'a HeaderValue> {
        let mut values = headers.get_all(&self.header).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return None;
        };
        let fit = (1..=MAX_LENGTH).contains(&value.len())
            && value.as_bytes().iter().all(u8::is_ascii_graphic);
        fit.then_some(value)
    }
}

impl IdFormat {
    fn make(self) -> Result<HeaderValue, InvalidHeaderValue> {
        let (high, low) = (random::next(), random::next());
        match self {
            Self::Hex => HeaderValue::from_maybe_shared(Bytes::from_owner(hex(high, low))),
            Self::Uuid => uuid(high, low, 4),
            Self::Uuid7 => {
                let since = Clock.wall().duration_since(UNIX_EPOCH).unwrap_or_default();
                // 48 bits of milliseconds last until the year 10889.
                let millis = since.as_millis() as u64;
                uuid(millis << 16 | high & 0xffff, low, 7)
            }
        }
    }
}

/// Sets the bits that say version and variant (RFC 9562 4), and groups the digits with dashes.
fn uuid(high: u64, low: u64, version: u64) -> Result<HeaderValue, InvalidHeaderValue> {
    let high = high & !0xf000 | version << 12;
    let low = low & !(3 << 62) | 2 << 62;
    let digits = hex(high, low);
    let mut text = [b'-'; 36];
    for (from, to) in [
        (0..8, 0),
        (8..12, 9),
        (12..16, 14),
        (16..20, 19),
        (20..32, 24),
    ] {
        text[to..to + from.len()].copy_from_slice(&digits[from]);
    }
    // An owner: the value is cloned for the upstream, the log and the reply without another allocation.
    HeaderValue::from_maybe_shared(Bytes::from_owner(text))
}

fn hex(high: u64, low: u64) -> [u8; 32] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let bits = (u128::from(high) << 64 | u128::from(low)).to_be_bytes();
    let mut text = [0; 32];
    for (pair, byte) in text.chunks_exact_mut(2).zip(bits) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    text
}

#[cfg(test)]
mod tests;
