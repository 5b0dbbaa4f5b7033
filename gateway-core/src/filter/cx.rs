//! What an asynchronous filter is lent.

use std::any::Any;

use crate::body::{Body, Collected};
use crate::error::GatewayError;
use crate::exchange::Exchange;
use crate::handler::{Request, Response};

/// The request, its reply once there is one, and what belongs to this run of a chain.
///
/// Lent by `&mut` only, because a body may move between threads but not be shared by them.
#[derive(Debug)]
pub struct FilterCx<'a> {
    request: Request,
    response: Option<Response>,
    exchange: &'a Exchange,
    slots: Vec<(usize, Box<dyn Any + Send>)>,
    current: usize,
}

impl<'a> FilterCx<'a> {
    /// A context around `request`.
    #[must_use]
    pub fn new(request: Request, exchange: &'a Exchange) -> Self {
        Self {
            request,
            response: None,
            exchange,
            slots: Vec::new(),
            current: 0,
        }
    }

    /// The request. On the way up it is empty, because it went upstream: keep what the response hook
    /// needs with [`set_slot`](Self::set_slot).
    #[must_use]
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// The request, to change.
    pub fn request_mut(&mut self) -> &mut Request {
        &mut self.request
    }

    /// The reply, on the way up.
    #[must_use]
    pub fn response(&self) -> Option<&Response> {
        self.response.as_ref()
    }

    /// The reply, to change. On the way down there is none yet and an empty 200 is made.
    pub fn response_mut(&mut self) -> &mut Response {
        self.response.get_or_insert_default()
    }

    /// The record of this request: client address, route, principal.
    #[must_use]
    pub fn exchange(&self) -> &Exchange {
        self.exchange
    }

    /// Reads the whole request body into memory and puts it back, so that later stages see it too.
    ///
    /// # Errors
    /// 413 when it is longer than `limit` bytes; the stream's error when the client stops sending.
    pub async fn buffer_request(&mut self, limit: usize) -> Result<Collected, GatewayError> {
        let body = std::mem::take(self.request.body_mut());
        let collected = body.collect(limit).await?;
        *self.request.body_mut() = restore(&collected);
        Ok(collected)
    }

    /// Reads the whole response body into memory and puts it back.
    ///
    /// # Errors
    /// As [`buffer_request`](Self::buffer_request).
    pub async fn buffer_response(&mut self, limit: usize) -> Result<Collected, GatewayError> {
        let body = std::mem::take(self.response_mut().body_mut());
        let collected = body.collect(limit).await?;
        *self.response_mut().body_mut() = restore(&collected);
        Ok(collected)
    }

    /// Keeps a value of the running filter from its request hook to its response hook.
    pub fn set_slot<T: Send + 'static>(&mut self, value: T) {
        let current = self.current;
        self.slots.retain(|(owner, _)| *owner != current);
        self.slots.push((current, Box::new(value)));
    }

    /// The value the running filter kept, if it is of type `T`.
    pub fn slot_mut<T: Send + 'static>(&mut self) -> Option<&mut T> {
        let current = self.current;
        self.slots
            .iter_mut()
            .find(|(owner, _)| *owner == current)
            .and_then(|(_, value)| value.downcast_mut())
    }

    pub(crate) fn enter(&mut self, filter: usize) {
        self.current = filter;
    }

    /// Takes the request out for the next stage.
    pub(crate) fn take_request(&mut self) -> Request {
        std::mem::take(&mut self.request)
    }

    pub(crate) fn head_parts(&mut self) -> (&mut Request, &'a Exchange) {
        (&mut self.request, self.exchange)
    }

    pub(crate) fn set_response(&mut self, response: Response) {
        self.response = Some(response);
    }

    pub(crate) fn take_response(&mut self) -> Option<Response> {
        self.response.take()
    }
}

fn restore(collected: &Collected) -> Body {
    match &collected.trailers {
        None => Body::from(collected.data.clone()),
        Some(trailers) => Body::with_trailers(collected.data.clone(), trailers.clone()),
    }
}
