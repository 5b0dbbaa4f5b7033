//! Values that are written as one string or number: addresses, networks, status ranges.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};

use ipnet::IpNet;

/// Why a text is not the value it should be.
///
/// The part of `Display` behind `\nhint: ` is what a person should do; the decoder tells the two apart, in the
/// messages of any `Deserialize` implementation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueError {
    expected: &'static str,
    hint: Option<String>,
}

impl ValueError {
    /// `expected` completes the sentence "expected ...".
    #[must_use]
    pub const fn new(expected: &'static str) -> Self {
        Self {
            expected,
            hint: None,
        }
    }

    /// Says what to write instead.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The whole sentence, for a value that reads `found`.
    pub(super) fn found(&self, found: &str) -> String {
        let hint = self
            .hint
            .as_deref()
            .map(|hint| format!("\nhint: {hint}"))
            .unwrap_or_default();
        format!("expected {}, found {found}{hint}", self.expected)
    }
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}", self.expected)?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ValueError {}

/// Serde and schema for a type that is written as one string, by its `FromStr` and `Display`. The literal is a
/// usual value, which stands in for one that is missing while the rest of a document is checked. The last
/// argument turns a whole number into the value, or explains why not.
macro_rules! scalar {
    ($type:ident, $expected:expr, $usual:literal, { $($schema:tt)* }) => {
        $crate::config::values::scalar!($type, $expected, $usual, { $($schema)* }, |_| {
            Err($crate::config::values::ValueError::new($expected))
        });
    };
    ($type:ident, $expected:expr, $usual:literal, { $($schema:tt)* }, $number:expr) => {
        impl $type {
            fn from_number(number: i128) -> Result<Self, $crate::config::values::ValueError> {
                let convert: fn(i128) -> Result<Self, $crate::config::values::ValueError> = $number;
                convert(number)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Reads;
                impl serde::de::Visitor<'_> for Reads {
                    type Value = $type;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str($expected)
                    }

                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$type, E> {
                        let found = || $crate::config::fault::found_text(text);
                        text.parse::<$type>().map_err(|error| E::custom(error.found(&found())))
                    }

                    fn visit_none<E: serde::de::Error>(self) -> Result<$type, E> {
                        $usual.parse().map_err(E::custom)
                    }

                    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<$type, E> {
                        let found = || format!("the number {number}");
                        $type::from_number(number.into()).map_err(|error| E::custom(error.found(&found())))
                    }

                    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<$type, E> {
                        let found = || format!("the number {number}");
                        $type::from_number(number.into()).map_err(|error| E::custom(error.found(&found())))
                    }
                }
                deserializer.deserialize_any(Reads)
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ $($schema)* })
            }
        }
    };
}
pub(super) use scalar;

const CIDR: &str = "an address range such as 10.0.0.0/8";
const CIDR_HINT: &str =
    "write one address, or an address, `/` and the bits that count: up to 32, with IPv6 up to 128";
const BIND: &str =
    "an address to listen on such as 0.0.0.0:8443, [::]:80, :8080 or unix:/run/gateway.sock";
const ENDPOINT: &str =
    "an endpoint such as 10.0.0.1:8080, [::1]:8080, orders:8080 or unix:/run/app.sock";
const STATUS: &str = "a status such as 200 or a range such as 200-299";
const CONDITION: &str = "a retry condition such as connect-failure or \"503\"";
const HOST: &str = "preserve, endpoint or a host name";

/// A range of client addresses: `10.0.0.0/8`, `2001:db8::/32`, or one address, `192.0.2.7`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr(IpNet);

impl Cidr {
    /// From the network type.
    #[must_use]
    pub const fn new(network: IpNet) -> Self {
        Self(network)
    }

    /// As the network type, host bits cleared.
    #[must_use]
    pub const fn get(self) -> IpNet {
        self.0
    }

    /// Whether the address lies in the range. An IPv4 address written as IPv6 (`::ffff:10.0.0.1`) is
    /// compared as IPv4.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl FromStr for Cidr {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let network = text
            .parse::<IpNet>()
            .ok()
            .or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        network
            .map(|network| Self(network.trunc()))
            .ok_or_else(|| ValueError::new(CIDR).hint(CIDR_HINT))
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

scalar!(Cidr, CIDR, "127.0.0.1", {
    "type": "string",
    "description": "An address range, such as 10.0.0.0/8 or 2001:db8::/32, or one address.",
    "examples": ["10.0.0.0/8", "2001:db8::/32", "192.0.2.7"],
});

/// Where a listener listens: `0.0.0.0:8443`, `[::]:80`, `:8080` (every address, IPv6 and IPv4) or
/// `unix:/path`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum BindAddress {
    /// A TCP address. Port 0 lets the system choose.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl Default for BindAddress {
    /// Every address, a port of the system's choice.
    fn default() -> Self {
        Self::Tcp(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)))
    }
}

impl FromStr for BindAddress {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        if let Some(path) = text.strip_prefix("unix:") {
            return unix_path(path, BIND).map(Self::Unix);
        }
        if let Some(port) = text.strip_prefix(':') {
            let port = port.parse::<u16>().map_err(|_| ValueError::new(BIND))?;
            return Ok(Self::Tcp(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))));
        }
        socket(text, BIND).map(Self::Tcp)
    }
}

impl fmt::Display for BindAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

scalar!(BindAddress, BIND, ":0", {
    "type": "string",
    "description": "An address and port, `:port` for every address, or `unix:` and a path.",
    "examples": ["0.0.0.0:8443", "[::]:80", ":8080", "unix:/run/gateway.sock"],
});

/// One address of an upstream: `10.0.0.1:8080`, `[::1]:8080`, `orders.svc:8080` or `unix:/path`. Names are
/// resolved by a discovery, never here.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum EndpointAddress {
    /// A TCP address; the port is not 0.
    Tcp(SocketAddr),
    /// A host name and a port that is not 0. It stands for every address of the name.
    Name(String, u16),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl FromStr for EndpointAddress {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        if let Some(path) = text.strip_prefix("unix:") {
            return unix_path(path, ENDPOINT).map(Self::Unix);
        }
        let named = text.rsplit_once(':').filter(|(host, _)| is_host_name(host));
        let address = match named.and_then(|(host, port)| Some((host, port.parse().ok()?))) {
            Some((host, port)) => Self::Name(host.to_owned(), port),
            None => Self::Tcp(socket(text, ENDPOINT)?),
        };
        match &address {
            Self::Tcp(socket) if socket.port() == 0 => Err(ValueError::new(ENDPOINT)),
            Self::Name(_, 0) => Err(ValueError::new(ENDPOINT)),
            _ => Ok(address),
        }
    }
}

impl fmt::Display for EndpointAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Name(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

scalar!(EndpointAddress, ENDPOINT, "127.0.0.1:1", {
    "type": "string",
    "description": "An IP address or a host name and a port, or `unix:` and a path.",
    "examples": ["10.0.0.1:8080", "[::1]:8080", "orders:8080", "unix:/run/app.sock"],
});

/// HTTP status codes from one to another, both included: `200`, `200-299`, `2xx`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StatusRange {
    first: u16,
    last: u16,
}

impl StatusRange {
    /// From one code to another; `None` outside 100 to 599 or when the first is the larger one.
    #[must_use]
    pub fn new(first: u16, last: u16) -> Option<Self> {
        (first <= last && first >= 100 && last <= 599).then_some(Self { first, last })
    }

    /// Whether the code lies in the range.
    #[must_use]
    pub const fn contains(self, status: u16) -> bool {
        self.first <= status && status <= self.last
    }

    /// The smallest and the largest code.
    #[must_use]
    pub const fn bounds(self) -> (u16, u16) {
        (self.first, self.last)
    }
}

impl FromStr for StatusRange {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let range = if let Some(class) = text.strip_suffix("xx") {
            let class = class.parse::<u16>().ok().filter(|class| *class < 6);
            class.and_then(|class| Self::new(class * 100, class * 100 + 99))
        } else {
            let (first, last) = text.split_once('-').unwrap_or((text, text));
            first
                .trim()
                .parse()
                .ok()
                .zip(last.trim().parse().ok())
                .and_then(|(a, b)| Self::new(a, b))
        };
        range.ok_or_else(|| ValueError::new(STATUS))
    }
}

impl fmt::Display for StatusRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

scalar!(StatusRange, STATUS, "200", {
    "type": ["string", "integer"],
    "description": "A status code, a range of them, or a class.",
    "minimum": 100,
    "maximum": 599,
    "examples": [200, "200-299", "2xx"],
}, |number: i128| {
    let status = u16::try_from(number).ok().and_then(|code| Self::new(code, code));
    status.ok_or_else(|| ValueError::new(STATUS))
});

/// When to try again: the name of a condition or a status, quoted or not. Lowering decides which exist.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RetryCondition(String);

impl RetryCondition {
    /// What was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RetryCondition {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        if text.is_empty() {
            Err(ValueError::new(CONDITION))
        } else {
            Ok(Self(text.to_owned()))
        }
    }
}

impl fmt::Display for RetryCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

scalar!(RetryCondition, CONDITION, "timeout", {
    "type": ["string", "integer"],
    "description": "A condition such as connect-failure, or a status code or class such as 503 or 5xx.",
    "examples": ["connect-failure", "503", "5xx"],
}, |number: i128| Ok(Self(number.to_string())));

/// The `Host` an upstream sees: `preserve` (what the client sent), `endpoint` (the endpoint's own name or
/// address) or a fixed name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HostRewrite {
    /// What the client sent.
    #[default]
    Preserve,
    /// The name or address of the endpoint that was picked.
    Endpoint,
    /// Always this.
    Fixed(String),
}

impl FromStr for HostRewrite {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text {
            "preserve" => Ok(Self::Preserve),
            "endpoint" => Ok(Self::Endpoint),
            _ if text
                .parse::<http::uri::Authority>()
                .is_ok_and(|name| !name.as_str().contains('@')) =>
            {
                Ok(Self::Fixed(text.to_owned()))
            }
            _ => Err(ValueError::new(HOST)),
        }
    }
}

impl fmt::Display for HostRewrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Preserve => "preserve",
            Self::Endpoint => "endpoint",
            Self::Fixed(name) => name,
        })
    }
}

scalar!(HostRewrite, HOST, "preserve", {
    "type": "string",
    "description": "`preserve`, `endpoint` or a fixed host name.",
    "examples": ["preserve", "endpoint", "orders.internal"],
});

fn unix_path(path: &str, expected: &'static str) -> Result<PathBuf, ValueError> {
    if path.starts_with('/') {
        Ok(PathBuf::from(path))
    } else {
        Err(ValueError::new(expected).hint("write an absolute path after `unix:`"))
    }
}

fn socket(text: &str, expected: &'static str) -> Result<SocketAddr, ValueError> {
    let fail = ValueError::new(expected);
    text.parse().map_err(|_| match text.rsplit_once(':') {
        _ if text.parse::<IpAddr>().is_ok() => fail.hint("write the port too"),
        Some((host, port))
            if !host.contains(':') && !host.is_empty() && port.parse::<u16>().is_ok() =>
        {
            if expected == BIND {
                fail.hint("a listener needs an address, not a name")
            } else {
                fail
            }
        }
        Some((_, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            fail.hint("a port is a number up to 65535")
        }
        None => fail.hint("write an address, `:` and a port"),
        Some(_) => fail,
    })
}

/// Letters, digits, `-` and `_` in labels (RFC 1123, section 2.1; underscores are deployed). A last label of digits
/// only would be a broken IPv4 address.
fn is_host_name(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    let last_is_number = text
        .rsplit('.')
        .next()
        .is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    let label = |label: &str| {
        let inner = label
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        (1..=63).contains(&label.len()) && inner && !label.starts_with('-') && !label.ends_with('-')
    };
    text.len() <= 253 && !last_is_number && text.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for text in ["10.0.0.0/8", "2001:db8::/32", "192.0.2.7/32"] {
            assert_eq!(text.parse::<Cidr>().unwrap().to_string(), text);
        }
        for text in ["0.0.0.0:8443", "[::]:80", "unix:/run/a.sock"] {
            assert_eq!(text.parse::<BindAddress>().unwrap().to_string(), text);
        }
        for text in [
            "10.0.0.1:8080",
            "[::1]:8080",
            "localhost:80",
            "a.b-c.svc:8080",
            "unix:/run/a.sock",
        ] {
            assert_eq!(text.parse::<EndpointAddress>().unwrap().to_string(), text);
        }
        for text in ["200", "200-299"] {
            assert_eq!(text.parse::<StatusRange>().unwrap().to_string(), text);
        }
        for text in ["preserve", "endpoint", "a.example:8080"] {
            assert_eq!(text.parse::<HostRewrite>().unwrap().to_string(), text);
        }
        assert_eq!("5xx".parse::<StatusRange>().unwrap().bounds(), (500, 599));
        assert_eq!(":80".parse::<BindAddress>().unwrap().to_string(), "[::]:80");
        assert_eq!(
            "10.1.2.3/8".parse::<Cidr>().unwrap().to_string(),
            "10.0.0.0/8"
        );
    }

    #[test]
    fn refuses_the_rest() {
        for text in ["", "10.0.0.0/33", "host"] {
            assert!(text.parse::<Cidr>().is_err(), "{text}");
        }
        for text in [
            "",
            "a b:80",
            "1.2.3.4",
            ":x",
            "unix:a",
            "1.2.3.4:99999",
            "10.0.0:80",
            "a..b:80",
            "-a:80",
        ] {
            assert!(text.parse::<BindAddress>().is_err(), "{text}");
            assert!(text.parse::<EndpointAddress>().is_err(), "{text}");
        }
        for text in [
            "10.0.0.1:0",
            "localhost:0",
            "localhost",
            "localhost:x",
            ":80",
        ] {
            assert!(text.parse::<EndpointAddress>().is_err(), "{text}");
        }
        assert!("localhost:80".parse::<BindAddress>().is_err());
        for text in ["", "99", "600", "300-200", "9xx", "x", "0xx", "65535xx"] {
            assert!(text.parse::<StatusRange>().is_err(), "{text}");
        }
        for text in ["", "a b", "user@host"] {
            assert!(text.parse::<HostRewrite>().is_err(), "{text}");
        }
    }

    #[test]
    fn mapped_addresses_are_compared_as_ipv4() {
        let range: Cidr = "10.0.0.0/8".parse().unwrap();
        assert!(range.contains("::ffff:10.1.1.1".parse().unwrap()));
        assert!(!range.contains("11.0.0.1".parse().unwrap()));
    }
}
