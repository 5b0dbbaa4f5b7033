//! The running gateway: compiled snapshots, listeners, reload and drain.

mod addresses;
mod build;
mod cell;
mod cgroup;
mod compile;
mod connections;
mod endpoints;
mod handle;
mod listeners;
mod mistakes;
mod mounted;
mod mounted_tunnel;
mod panic_guard;
mod pressure;
mod process;
mod room;
mod routes;
mod serve;
mod signals;
mod sinks;
mod snapshot;
mod source;
mod stack;
mod streams;
mod telemetry;
mod tls;
mod upstreams;
mod watch;

pub use build::{Gateway, GatewayBuilder, StartError};
pub use handle::{GatewayHandle, Reloaded};
pub use mounted::HttpService;
pub use panic_guard::{PanicGuard, PanicGuardLayer};
pub use process::Process;
pub use stack::{ChainLayer, Chained, EdgeMode, LayerInfo, ListenerParts, Mode};
pub use telemetry::RouteMetrics;

pub(crate) use addresses::{Addresses, Visit};
pub(crate) use cell::{ListenerCell, ListenerEntry};
pub(crate) use compile::Controller;
pub(crate) use connections::Connections;
pub(crate) use pressure::{Level, Pressure};
pub(crate) use room::{Occupied, Room};
pub(crate) use snapshot::Generation;
pub(crate) use telemetry::{Admitted, Dropped, Refusal, Telemetry};
