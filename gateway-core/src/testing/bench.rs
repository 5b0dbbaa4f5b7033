//! Doors for the benches that count instructions (`bench/instructions`): no interface for users.

use std::sync::Arc;

use bytes::BytesMut;
use http::HeaderMap;

use crate::conn::ConnCx;
use crate::exchange::ConnInfo;
use crate::gateway::HttpService;
use crate::heads;
use crate::proto::h1;
use crate::transport::Transport;

pub use crate::http1;

/// Does with the fields of a message what the gateway does when it is over.
pub fn end_headers(headers: HeaderMap) {
    heads::keep_header_map(headers);
}

/// Serves one client's connection of HTTP/1 as the listener behind `service` would serve it, if it had sockets.
pub async fn serve_http1(service: HttpService, io: Transport, info: ConnInfo) {
    let cx = ConnCx::new(Arc::new(info), service.cell().clone(), Arc::default());
    h1::serve(io, BytesMut::new(), &cx).await;
}
