//! The running gateway: compiled snapshots, listeners, reload and drain.

//B mod build;
mod cell;
//B mod compile;
mod connections;
//B mod handle;
mod panic_guard;
//B mod process;
//B mod routes;
mod snapshot;
mod stack;
mod telemetry;
//B mod upstreams;

//B pub use build::{Gateway, GatewayBuilder, GatewayError as StartError};
//B pub use handle::{GatewayHandle, HttpService, Reloaded};
pub use panic_guard::{PanicGuard, PanicGuardLayer};
//B pub use process::Process;
pub use stack::{ChainLayer, Chained, EdgeMode, LayerInfo, ListenerParts, Mode};
pub use telemetry::RouteMetrics;

pub(crate) use cell::{ListenerCell, ListenerEntry};
pub(crate) use connections::Connections;
