//! The admin listener: health, metrics, and what the gateway is doing.
//!
//! | path | shows |
//! |---|---|
//! | `/livez` | 200 while the process runs |
//! | `/readyz` | 200 once a configuration is live, 503 before, while draining, and while requests are refused for memory |
//! | `/metrics` | Prometheus text |
//! | `/config` | the live configuration, secrets hidden, and why the last one was refused, if it was |
//! | `/routes` | the routes in the order of the configuration |
//! | `/upstreams` | endpoints with health, latency and connections |
//! | `/explain?method=GET&url=...&peer=...&header=name:value` | which route a request would meet, and why others lost |
//! | `/` | a page that shows these |

mod explain;
mod pages;
mod service;

use std::sync::Arc;

use crate::config::values::BindAddress;
use crate::gateway::{Controller, Generation, ListenerCell, ListenerEntry, Telemetry};
use crate::handler::SharedService;
use crate::listen::{self, BindError, DoorPolicy, Families, ProcessDoor, Running};
use crate::runtime::Worker;
use crate::settings::{HttpSettings, TcpKeepalive};

pub(crate) use explain::explain;
pub use explain::{ExplainQuery, ExplainedRoute, Explanation, FilterList};

/// Serves the admin pages on the current runtime, apart from the data plane.
pub(crate) fn start(
    controller: &Arc<Controller>,
    address: &BindAddress,
    worker: Worker,
) -> Result<Running, BindError> {
    let keepalive = TcpKeepalive::default();
    let sockets = listen::bind("admin", address, 1, false, Families::Both, &keepalive)?;
    let entry = ListenerEntry {
        service: SharedService::new(service::Admin::new(controller.clone())),
        settings: HttpSettings::default(),
        tls: None,
        handler: None,
        layer4: None,
        http: true,
        telemetry: Arc::new(Telemetry::detached("admin".into())),
        _generation: Generation::new(0, Arc::default()),
    };
    let cell = Arc::new(ListenerCell::new("admin".into(), Arc::new(entry), 1));
    let policy = DoorPolicy {
        max_connections: Some(256),
        keepalive,
        ..DoorPolicy::default()
    };
    let process = ProcessDoor::default();
    Ok(listen::start(sockets, cell, &[worker], &policy, process))
}
