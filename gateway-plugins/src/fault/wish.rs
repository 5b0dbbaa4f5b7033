//! Faults that clients ask for.

use std::time::Duration;

use http::HeaderMap;
use portcullis_core::http::HeaderName;

use super::{Abort, Share, status_of};

const DELAY: HeaderName = HeaderName::from_static("x-envoy-fault-delay-request");
const DELAY_SHARE: HeaderName = HeaderName::from_static("x-envoy-fault-delay-request-percentage");
const ABORT: HeaderName = HeaderName::from_static("x-envoy-fault-abort-request");
const ABORT_GRPC: HeaderName = HeaderName::from_static("x-envoy-fault-abort-grpc-request");
const ABORT_SHARE: HeaderName = HeaderName::from_static("x-envoy-fault-abort-request-percentage");

/// What a client asks for, within what it may.
#[derive(Default)]
pub(super) struct Wish {
    pub(super) delay: Option<(Duration, Share)>,
    pub(super) abort: Option<(Abort, Share)>,
}

impl Wish {
    pub(super) fn of(headers: &HeaderMap, longest: Duration, most: Share) -> Self {
        let share =
            |name| number(headers, &name).map_or(most, |asked| Share::percent(asked).min(most));
        let delay =
            number(headers, &DELAY).map(|millis| Duration::from_millis(millis.into()).min(longest));
        let status = number(headers, &ABORT)
            .and_then(|status| status_of(status.try_into().ok()?))
            .map(Abort::Status);
        let grpc = number(headers, &ABORT_GRPC)
            .and_then(|code| u8::try_from(code).ok())
            .filter(|code| (1..=16).contains(code))
            .map(Abort::Grpc);
        Self {
            delay: delay.map(|delay| (delay, share(DELAY_SHARE))),
            abort: status.or(grpc).map(|abort| (abort, share(ABORT_SHARE))),
        }
    }
}

fn number(headers: &HeaderMap, name: &HeaderName) -> Option<u32> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}
