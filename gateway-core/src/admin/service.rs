//! Answers admin requests.

use std::sync::Arc;

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, StatusCode};
use serde::Serialize;

use super::explain::{ExplainQuery, explain};
use super::pages;
use crate::body::Body;
use crate::error::GatewayError;
use crate::gateway::Controller;
use crate::handler::{Handler, Request, Response};
use crate::observe::metrics;

/// The handler behind the admin listener.
pub(super) struct Admin {
    controller: Arc<Controller>,
}

impl Admin {
    pub(super) fn new(controller: Arc<Controller>) -> Self {
        Self { controller }
    }
}

impl Handler for Admin {
    async fn handle(&self, request: Request) -> Result<Response, GatewayError> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = text(
                StatusCode::METHOD_NOT_ALLOWED,
                "the admin pages are read only\n",
            );
            response
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return Ok(response);
        }
        let process = &self.controller.process;
        Ok(match request.uri().path() {
            "/livez" => text(StatusCode::OK, "ok\n"),
            "/readyz" if process.is_ready() => text(StatusCode::OK, "ok\n"),
            "/readyz" if process.is_short_of_memory() => text(
                StatusCode::SERVICE_UNAVAILABLE,
                "not ready: memory is short, requests are refused\n",
            ),
            "/readyz" => text(
                StatusCode::SERVICE_UNAVAILABLE,
                "not ready: no configuration is live, or the gateway drains\n",
            ),
            "/metrics" => page(
                StatusCode::OK,
                metrics::CONTENT_TYPE,
                process.metrics().render(),
            ),
            "/config" => json(&pages::config(&self.controller)),
            "/routes" => json(&pages::routes(&self.controller)),
            "/upstreams" => json(&pages::upstreams(&self.controller)),
            "/explain" => match ExplainQuery::parse(request.uri().query().unwrap_or_default()) {
                Ok(query) => json(&explain(&self.controller, &query)),
                Err(problem) => text(StatusCode::BAD_REQUEST, problem + "\n"),
            },
            "/" => page(
                StatusCode::OK,
                "text/html; charset=utf-8",
                include_str!("dashboard.html"),
            ),
            _ => text(
                StatusCode::NOT_FOUND,
                "there is no such admin page; see /\n",
            ),
        })
    }
}

fn text(status: StatusCode, text: impl Into<Body>) -> Response {
    page(status, "text/plain; charset=utf-8", text)
}

fn json(value: &impl Serialize) -> Response {
    match serde_json::to_vec_pretty(value) {
        Ok(mut data) => {
            data.push(b'\n');
            page(StatusCode::OK, "application/json", data)
        }
        Err(error) => text(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("writing the page: {error}\n"),
        ),
    }
}

fn page(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
