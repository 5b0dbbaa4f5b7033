//! The running gateway: compiled snapshots, listeners, reload and drain.

mod build;
mod cell;
mod compile;
mod connections;
mod handle;
mod panic_guard;
mod process;
mod routes;
mod snapshot;
mod stack;
mod telemetry;
mod upstreams;

pub use build::{Gateway, GatewayBuilder, GatewayError as StartError};
pub use handle::{GatewayHandle, HttpService, Reloaded};
pub use panic_guard::{PanicGuard, PanicGuardLayer};
pub use process::Process;
pub use stack::{ChainLayer, Chained, EdgeMode, LayerInfo, ListenerParts, Mode};
pub use telemetry::RouteMetrics;

pub(crate) use cell::{ListenerCell, ListenerEntry};
pub(crate) use connections::Connections;
