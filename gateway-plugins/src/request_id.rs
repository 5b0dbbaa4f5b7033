//! `request-id`: gives each request a name that shows up in every log.
//!
//! ```yaml
//! - { type: request-id }
//! - { type: request-id, header: x-correlation-id, accept: always, format: uuid7 }
//! ```
//!
//! The id goes upstream, into the access log and, unless told otherwise, back to the client, also on errors. It
//! names a request and protects nothing: it is random, but not a secret.

mod random;

use std::time::UNIX_EPOCH;

use http::{HeaderMap, HeaderName, HeaderValue};
use portcullis_core::GatewayError;
use portcullis_core::clock::Clock;
use portcullis_core::filter::{
    BuildCx, BuildError, FilterFactory, Flow, HeadFilter, Phase, RequestHead, ResponseHead, Stage,
};
use schemars::JsonSchema;
use serde::Deserialize;

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
            state.request_id = Some(brought.into());
            return Ok(Flow::Continue);
        }
        let id = state
            .request_id
            .get_or_insert_with(|| self.format.make().into());
        let value = header_value(id)?;
        drop(state);
        head.headers_mut().insert(&self.header, value);
        Ok(Flow::Continue)
    }

    fn on_response(&self, head: &mut ResponseHead<'_>) -> Result<(), GatewayError> {
        if !self.echo {
            return Ok(());
        }
        let id = head
            .exchange()
            .state()
            .request_id
            .as_deref()
            .map(header_value);
        if let Some(value) = id.transpose()? {
            head.headers_mut().insert(&self.header, value);
        }
        Ok(())
    }
}

impl RequestId {
    /// The one id that a request brings along, if it is fit for logs.
    fn brought<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let mut values = headers.get_all(&self.header).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return None;
        };
        let fit = (1..=MAX_LENGTH).contains(&value.len())
            && value.as_bytes().iter().all(u8::is_ascii_graphic);
        value.to_str().ok().filter(|_| fit)
    }
}

impl IdFormat {
    fn make(self) -> String {
        let (high, low) = (random::next(), random::next());
        match self {
            Self::Hex => hex(high, low, &[]),
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

/// Sets the bits that say version and variant (RFC 9562 4).
fn uuid(high: u64, low: u64, version: u64) -> String {
    let high = high & !0xf000 | version << 12;
    let low = low & !(3 << 62) | 2 << 62;
    hex(high, low, &[8, 12, 16, 20])
}

/// 32 digits, with a dash before each of the positions in `dashes`.
fn hex(high: u64, low: u64, dashes: &[u32]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let bits = u128::from(high) << 64 | u128::from(low);
    let mut text = String::with_capacity(32 + dashes.len());
    for position in 0..32 {
        if dashes.contains(&position) {
            text.push('-');
        }
        let digit = (bits >> (124 - 4 * position)) as usize & 15;
        text.push(char::from(DIGITS[digit]));
    }
    text
}

fn header_value(id: &str) -> Result<HeaderValue, GatewayError> {
    HeaderValue::from_str(id)
        .map_err(|error| GatewayError::internal("writing a request id").with_source(error))
}

#[cfg(test)]
mod tests;
