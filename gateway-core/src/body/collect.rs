//! Reading a whole body into memory, with a limit.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::Body as HttpBody;
use http_body_util::BodyExt;

use super::Body;
use crate::error::{ErrorClass, GatewayError};

/// A body that is wholly in memory.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Collected {
    /// All data of the body.
    pub data: Bytes,
    /// Its trailers, if it had any.
    pub trailers: Option<HeaderMap>,
}

pub(super) async fn collect(mut body: Body, limit: usize) -> Result<Collected, GatewayError> {
    let too_large = || {
        GatewayError::new(
            ErrorClass::BodyTooLarge,
            format!("buffering a body of more than {limit} bytes"),
        )
    };
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    let mut collected = Collected::default();
    let mut joined: Option<BytesMut> = None;
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(data) => {
                let held = joined.as_ref().map_or(collected.data.len(), BytesMut::len);
                if held + data.len() > limit {
                    return Err(too_large());
                }
                // One frame is kept as it is; only a second one makes a copy necessary.
                match &mut joined {
                    Some(all) => all.extend_from_slice(&data),
                    None if collected.data.is_empty() => collected.data = data,
                    None => {
                        let mut all = BytesMut::with_capacity(held + data.len());
                        all.extend_from_slice(&collected.data);
                        all.extend_from_slice(&data);
                        joined = Some(all);
                    }
                }
            }
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    collected.trailers = Some(trailers);
                }
            }
        }
    }
    if let Some(all) = joined {
        collected.data = all.freeze();
    }
    Ok(collected)
}
