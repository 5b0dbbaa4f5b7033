//! Listeners as they are written.

use std::num::{NonZeroU32, NonZeroU64};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{RawHttp2, RawProxyProtocol, RawTcpKeepalive, WhenFull, is_default, is_yes, yes};
use crate::config::{
    capture::{Located, PluginSpec},
    pem::Pem,
    units::{ByteSize, TimeSpan},
    values::{BindAddress, Cidr},
};
use crate::{
    http1::HeadLimits,
    settings::{ConnTimeouts, Http2Settings},
};

/// A place where connections come in.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Listener")]
#[non_exhaustive]
pub struct RawListener {
    /// Name, unique among listeners; routes, logs and metrics use it.
    pub name: Located<String>,
    /// `ADDRESS:PORT`, `:PORT` for every address, or `unix:PATH`.
    pub bind: Located<BindAddress>,
    /// Which HTTP versions are spoken, or `tcp` or `udp` for a listener that has only routes of `tcp_routes` or
    /// `udp_routes`. Default: `auto`, by ALPN with TLS and by the first bytes without; TCP routes may name such a listener.
    #[serde(default, skip_serializing_if = "is_default")]
    pub protocol: ListenerProtocol,
    /// The PROXY protocol: load balancers in front of this gateway tell whom they forward. Left out: it is not spoken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<RawProxyProtocol>,
    /// TLS with these certificates. Left out: plain text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<RawServerTls>,
    /// Filters that every request of this listener passes before its route is chosen, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-portcullis-plugins" = "filter"))]
    pub filters: Vec<PluginSpec>,
    /// Serves whole connections instead of HTTP requests, such as `{ type: acme.smtp }`. Such a listener has no
    /// routes and no filters. Default: none, HTTP is spoken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-portcullis-plugins" = "conn-handler"))]
    pub handler: Option<PluginSpec>,
    /// Proxies in front of this gateway. Only from these are `forwarded`, `x-forwarded-*` and `x-real-ip` believed;
    /// from anyone else they are removed and written anew. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trusted_proxies: Vec<Cidr>,
    /// Which headers tell upstreams about the client. Default: `x-forwarded`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub forwarded: Forwarded,
    /// Make one slash of several in paths (`//a///b` is `/a/b`), before routes are chosen and for upstreams. Default:
    /// `false`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub merge_slashes: bool,
    /// What one listener and one connection may use.
    #[serde(default, skip_serializing_if = "is_default")]
    pub limits: RawListenerLimits,
    /// How long the gateway waits for a client.
    #[serde(default, skip_serializing_if = "is_default")]
    pub timeouts: RawListenerTimeouts,
    /// One socket per worker (`SO_REUSEPORT`), so that workers do not share a queue. Without it one worker accepts for
    /// all. Ignored for Unix sockets. Default: `true`.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub reuse_port: bool,
    /// What one HTTP/2 connection may use.
    #[serde(default, skip_serializing_if = "is_default")]
    pub http2: RawHttp2,
    /// How clients that are gone without a word are found.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tcp_keepalive: RawTcpKeepalive,
}

impl RawListener {
    /// A plain-text listener without filters.
    #[must_use]
    pub fn new(name: impl Into<Located<String>>, bind: impl Into<Located<BindAddress>>) -> Self {
        Self {
            name: name.into(),
            bind: bind.into(),
            protocol: ListenerProtocol::default(),
            proxy_protocol: None,
            tls: None,
            filters: Vec::new(),
            handler: None,
            trusted_proxies: Vec::new(),
            forwarded: Forwarded::default(),
            merge_slashes: false,
            limits: RawListenerLimits::default(),
            timeouts: RawListenerTimeouts::default(),
            reuse_port: true,
            http2: RawHttp2::default(),
            tcp_keepalive: RawTcpKeepalive::default(),
        }
    }
}

/// What a listener speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ListenerProtocol {
    /// Both versions of HTTP, and TCP routes that name it.
    #[default]
    Auto,
    /// HTTP/1.1 and 1.0 only (RFC 9112).
    Http1,
    /// HTTP/2 only (RFC 9113), with prior knowledge when there is no TLS.
    Http2,
    /// TCP routes only.
    Tcp,
    /// A UDP route.
    Udp,
}

impl ListenerProtocol {
    /// The versions of HTTP; `None` for a listener without any.
    #[must_use]
    pub const fn http(self) -> Option<Protocol> {
        match self {
            Self::Auto => Some(Protocol::Auto),
            Self::Http1 => Some(Protocol::Http1),
            Self::Http2 => Some(Protocol::Http2),
            Self::Tcp | Self::Udp => None,
        }
    }
}

/// Versions of HTTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Protocol {
    /// Both; the two sides of a connection find out which.
    #[default]
    Auto,
    /// HTTP/1.1 and 1.0 only (RFC 9112).
    Http1,
    /// HTTP/2 only (RFC 9113), with prior knowledge when there is no TLS.
    Http2,
}

/// Headers that tell an upstream where a request came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Forwarded {
    /// None; those of the client are removed.
    Off,
    /// `x-forwarded-for`, `-proto`, `-host`, `-port` and `x-real-ip`.
    #[default]
    XForwarded,
    /// `forwarded` (RFC 7239).
    Rfc7239,
    /// Both kinds.
    Both,
}

/// TLS of a listener.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ServerTls")]
#[non_exhaustive]
pub struct RawServerTls {
    /// Certificates, chosen by the server name (SNI) the client asks for.
    pub certificates: Vec<RawCertificate>,
    /// Certificates of clients. Left out: clients are not asked for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_auth: Option<RawClientAuth>,
    /// Oldest version that is spoken. Default: `"1.2"`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub min_version: TlsVersion,
    /// Protocols offered by ALPN (RFC 7301), the preferred one first. Default: what `protocol` allows, `h2` first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alpn: Option<Vec<Located<String>>>,
}

/// A certificate with its key.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Certificate")]
#[non_exhaustive]
pub struct RawCertificate {
    /// Path of a PEM file with the certificate first and its intermediates after it, read again when it changes; or
    /// the PEM text itself. Relative paths begin at the folder of the file they are written in.
    pub cert: Located<Pem>,
    /// The same for the private key (PKCS#8, PKCS#1 or SEC1).
    pub key: Located<Pem>,
    /// Server names it is used for; `*.example.com` covers one label. Default: the names in the certificate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<Located<String>>,
    /// Use it for clients that ask for no name or for one that no certificate has. One per listener at most; without
    /// any, the first certificate is used. Default: `false`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub default: bool,
}

/// Certificates of clients (mutual TLS).
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ClientAuth")]
#[non_exhaustive]
pub struct RawClientAuth {
    /// Whether a certificate is asked for, or needed. Default: `require`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mode: ClientAuthMode,
    /// PEM file, or text, with the authorities whose certificates are accepted. Needed unless `mode` is `off`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<Located<Pem>>,
}

/// Whether clients show a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ClientAuthMode {
    /// They are not asked.
    Off,
    /// They are asked; those without one are let in, those with a wrong one are not.
    Request,
    /// The handshake fails without a valid one.
    #[default]
    Require,
}

/// Versions of TLS.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Deserialize,
    Serialize,
    JsonSchema,
)]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    #[default]
    #[serde(rename = "1.2")]
    V1_2,
    /// TLS 1.3 (RFC 8446).
    #[serde(rename = "1.3")]
    V1_3,
}

/// What one listener and one connection may use.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "ListenerLimits")]
#[non_exhaustive]
pub struct RawListenerLimits {
    /// Connections open at a time. What becomes of further ones says `when_full`. Left out: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<NonZeroU64>,
    /// Connections open at a time from one address of a client, or from one /64 of IPv6; further ones are answered with
    /// 503 and closed. Addresses of `trusted_proxies` are not counted. Left out: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections_per_address: Option<NonZeroU64>,
    /// What becomes of connections beyond `max_connections`, here or of the process: they wait to be accepted (`wait`), or
    /// are answered with 503 and closed (`refuse`); with TLS they are just closed. Default: `wait`.
    #[serde(skip_serializing_if = "is_default")]
    pub when_full: WhenFull,
    /// Requests being served at a time; further ones are answered with 503. Left out: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_requests_in_flight: Option<NonZeroU64>,
    /// Size of a request's line and headers; more is answered with 431 (RFC 6585). At least `1KiB`. Default: `64KiB`.
    pub max_head_bytes: ByteSize,
    /// Size of a request's target; a longer one is answered with 414. At most 65534 bytes count. Default: `16KiB`.
    pub max_uri_bytes: ByteSize,
    /// Number of header fields of a request; more are answered with 431. Default: 128.
    pub max_headers: NonZeroU32,
    /// Size of a request's body. A longer one is answered with 413: before anything of it is read when its length is
    /// told, else when the limit is passed. `body-limit` does the same for a route. Left out: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_body_bytes: Option<ByteSize>,
    /// How much of a request's body has to come in a second, on average over the time in which the gateway waits for it.
    /// A slower client is answered with 408 once `timeouts.body` is over, or `timeouts.body_idle` without one. Left
    /// out: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_body_rate: Option<ByteSize>,
    /// Requests at a time on one HTTP/2 connection (RFC 9113, section 5.1.2). Default: 200.
    pub max_streams: NonZeroU32,
}

impl Default for RawListenerLimits {
    fn default() -> Self {
        let (head, http2) = (HeadLimits::default(), Http2Settings::default());
        let headers = u32::try_from(head.max_headers)
            .ok()
            .and_then(NonZeroU32::new);
        Self {
            max_connections: None,
            max_connections_per_address: None,
            when_full: WhenFull::Wait,
            max_requests_in_flight: None,
            max_head_bytes: ByteSize::new(head.max_head_bytes as u64),
            max_uri_bytes: ByteSize::new(head.max_uri_bytes as u64),
            max_body_bytes: None,
            min_body_rate: None,
            max_headers: headers.unwrap_or(NonZeroU32::MIN),
            max_streams: NonZeroU32::new(http2.max_concurrent_streams).unwrap_or(NonZeroU32::MIN),
        }
    }
}

/// How long the gateway waits for a client. `0s` switches a timeout off.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "ListenerTimeouts")]
#[non_exhaustive]
pub struct RawListenerTimeouts {
    /// From the connection to its first bytes, TLS handshake included. Default: `10s`.
    pub detect: TimeSpan,
    /// From the first byte of a request to the end of its headers. Default: `30s`.
    pub head: TimeSpan,
    /// Between two requests of a connection; then it is closed. Default: `75s`.
    pub idle: TimeSpan,
    /// Between two pieces of a request's body; over HTTP/2 until the reply begins, and not for gRPC. Default: `60s`.
    pub body_idle: TimeSpan,
    /// For a request's body as a whole, from its head on. Only time in which the gateway waits for the client counts, not
    /// that in which the upstream takes no more. Each second's worth of `min_body_rate` that came adds a second. Over
    /// HTTP/2 until the reply begins, gRPC included. Default: off.
    pub body: TimeSpan,
    /// How long a client may read nothing while a reply, or what comes through a tunnel, waits for it; then its
    /// connection or stream is reset. Default: `60s`.
    pub write_idle: TimeSpan,
}

impl Default for RawListenerTimeouts {
    fn default() -> Self {
        let ConnTimeouts {
            detect,
            head,
            idle,
            body_idle,
            write_idle,
            ..
        } = ConnTimeouts::default();
        Self {
            detect: detect.into(),
            head: head.into(),
            idle: idle.into(),
            body_idle: body_idle.into(),
            body: std::time::Duration::ZERO.into(),
            write_idle: write_idle.into(),
        }
    }
}
