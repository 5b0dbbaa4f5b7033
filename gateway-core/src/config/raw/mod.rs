//! The native configuration as it is written.
//!
//! These types hold what a document says, checked for shape and for values that can be judged alone, with the
//! places of everything that later stages may want to point at. They resolve nothing: whether an upstream
//! exists or a plugin is registered is not asked here.
//!
//! The comments on the fields are the manual of the configuration, and the descriptions of [`schema`]. Keys
//! are `snake_case`, values that are names are `kebab-case`, durations and sizes carry their unit
//! ([`TimeSpan`](super::TimeSpan), [`ByteSize`](super::ByteSize)).

mod affinity;
mod gateway;
mod http2;
mod l4;
mod listener;
mod matching;
mod route;
mod sockets;
mod upstream;

#[cfg(test)]
mod tests;

pub use affinity::{HashKeys, HashOn, RawCookie, RawSticky, SameSite};
pub use gateway::{RawAdmin, RawConfig, RawDefaults, RawLimits, schema};
pub use http2::RawHttp2;
pub use l4::{
    ProxyVersion, RawProxyProtocol, RawStreamBackend, RawTcpLimits, RawTcpMatch, RawTcpRoute,
    RawTcpTimeouts, RawUdpRoute, RawUdpTimeouts, StartTls, TcpTls,
};
pub use listener::{
    ClientAuthMode, Forwarded, ListenerProtocol, Protocol, RawCertificate, RawClientAuth,
    RawListener, RawListenerLimits, RawListenerTimeouts, RawServerTls, TlsVersion,
};
pub use matching::{PathMatch, RawMatch, ValueMatch};
pub use route::{
    DeadlineField, RawBackend, RawBackoff, RawHedge, RawMirror, RawRetry, RawRetryBudget, RawRoute,
    RawRouteTimeouts,
};
pub use sockets::{RawTcpKeepalive, WhenFull};
pub use upstream::{
    RawActiveHealth, RawAdaptiveLimit, RawClientTls, RawEndpoint, RawHealth, RawPassiveHealth,
    RawSlowStart, RawUpstream, RawUpstreamLimits, RawUpstreamTimeouts,
};

/// For keys that are on unless switched off.
const fn yes() -> bool {
    true
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature serde asks for"
)]
const fn is_yes(value: &bool) -> bool {
    *value
}

/// Leaves out what says nothing when a configuration is written.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
