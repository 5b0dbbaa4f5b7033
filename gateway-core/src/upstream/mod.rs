//! Upstreams: named groups of endpoints, with discovery, health and balancing.
//!
//! An [`Upstream`] has a lifetime of its own. Reloads that leave its configuration alone keep it, and with it
//! everything it learned: latencies, counters, ejections and whatever is attached to its endpoints, such as
//! connection pools. Three futures feed it, none of which it starts by itself:
//!
//! - [`drive`] applies what a [`Discovery`] reports and carries out changes of health;
//! - [`check_health`] probes its endpoints actively;
//! - requests report their outcome through [`InFlight`], from which latencies and [`OutlierConfig`] ejections
//!   follow.
//!
//! Each of them holds the upstream weakly and ends when it is dropped.
//!
//! The request path reads one immutable [`Snapshot`] through a slot per worker, so a pick touches no memory
//! that another worker writes, apart from the counters of the endpoints themselves.
//!
//! ```
//! use portcullis_core::balance::PickCx;
//! use portcullis_core::upstream::{EndpointSpec, Outcome, Upstream};
//! use std::time::Duration;
//!
//! let upstream = Upstream::fixed("orders", [EndpointSpec::new(([10, 0, 0, 1], 8080))]);
//! let endpoint = upstream.pick(&PickCx::new()).expect("one endpoint");
//! let in_flight = endpoint.begin();
//! // ... send the request to in_flight.endpoint() ...
//! in_flight.finish(Outcome::Success, Duration::from_millis(3));
//! assert_eq!(upstream.report().endpoints[0].successes, 1);
//! ```

mod attach;
mod backoff;
mod discovery;
mod dns;
mod driver;
mod endpoint;
mod group;
mod health;
mod joined;
#[cfg(any(test, feature = "testing"))]
pub mod law;
mod members;
mod outlier;
mod report;
mod slow_start;
mod snapshot;
mod spec;
mod stats;

pub use attach::Attachments;
pub use discovery::{
    BoxStream, Discovery, DiscoveryError, EndpointStream, EndpointUpdate, StaticDiscovery,
    poll_every,
};
pub use dns::{DnsDiscovery, Resolve, SystemResolver};
pub use driver::drive;
pub use endpoint::{Endpoint, InFlight, Outcome};
pub use group::{Upstream, UpstreamBuilder};
pub use health::{ActiveHealth, BoxFuture, Probe, ProbeError, TcpProbe, check_health};
pub use joined::JoinedDiscovery;
pub use outlier::OutlierConfig;
pub use report::{DiscoveryReport, EndpointReport, UpstreamReport};
pub use slow_start::SlowStart;
pub use snapshot::{PanicPolicy, Snapshot};
pub use spec::{EndpointAddress, EndpointId, EndpointSpec};
pub use stats::{EndpointStats, Health, Load};
