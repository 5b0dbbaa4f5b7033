//! Two attempts of one request side by side.

use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::FutureExt;
use http::request::Parts;
use tokio::time::timeout_at;

use super::attempt::{Forward, rendered};
use super::client::{AttemptCx, Picked};
use super::hedge::Hedge;
use crate::body::Body;
use crate::clock::Clock;
use crate::error::GatewayError;
use crate::exchange::Exchange;
use crate::handler::Response;

/// Who came first.
enum Winner {
    First,
    Second,
}

impl Forward {
    /// Sends a request without a body, and once more if its reply takes too long: the first good reply counts.
    pub(super) async fn race(
        &self,
        hedge: &Hedge,
        parts: &Parts,
        mut cx: AttemptCx,
        exchange: &Exchange,
    ) -> Result<Response, GatewayError> {
        hedge.deposit();
        let begun = Clock.now();
        let note = Arc::<OnceLock<Picked>>::default();
        cx.picked = Some(note.clone());
        let (number, tried, done_by) = (cx.number, cx.tried.clone(), cx.done_by);
        let backend = self.choose(parts, exchange)?;
        let mut first = pin!(backend.send(parts, Body::empty(), cx, exchange));
        let in_time = match hedge.delay() {
            // A timer would take up to a millisecond.
            Some(Duration::ZERO) => (&mut first).now_or_never(),
            Some(delay) => timeout_at(begun + delay, &mut first).await.ok(),
            None => Some((&mut first).await),
        };
        if let Some(outcome) = in_time {
            // How fast an upstream fails says nothing of how long a reply takes.
            if is_good(&outcome) {
                hedge.record(Clock.since(begun));
            }
            return outcome;
        }
        // One that is still among the filters of its backend has nothing to stand beside.
        let Some(slow) = note.get().filter(|_| hedge.withdraw()) else {
            let outcome = first.await;
            hedge.record(Clock.since(begun));
            return outcome;
        };
        let known = tried.iter().copied();
        let tried = known.chain([slow.endpoint.id()]).collect();
        let mut cx = self.attempt(number + 1, tried, done_by);
        let other = Arc::<OnceLock<Picked>>::default();
        cx.picked = Some(other.clone());
        let backend = self.choose(parts, exchange)?;
        // It has less time left than the first one was told.
        let told = self.told(parts, &cx);
        let parts = told.as_ref().unwrap_or(parts);
        let mut second = pin!(backend.send(parts, Body::empty(), cx, exchange));
        let (mut outcome, mut winner) = tokio::select! {
            biased;
            outcome = &mut first => (outcome, Winner::First),
            outcome = &mut second => (outcome, Winner::Second),
        };
        if !is_good(&outcome) {
            (outcome, winner) = match winner {
                Winner::First => (second.await, Winner::Second),
                Winner::Second => (first.await, Winner::First),
            };
        }
        hedge.record(Clock.since(begun));
        let won = match winner {
            Winner::First => Some(slow),
            Winner::Second => other.get(),
        };
        if let Some(won) = won {
            // What the record says is of the attempt that began last.
            let mut state = exchange.state();
            state.upstream = Some(won.upstream.clone());
            state.endpoint = Some(won.endpoint.clone());
            if is_good(&outcome) {
                state.reason = None;
                state.error = None;
            }
        }
        outcome
    }
}

/// Whether there is no reason to wait for the other one.
fn is_good(outcome: &Result<Response, GatewayError>) -> bool {
    let well = |response: &Response| !response.status().is_server_error();
    matches!(outcome, Ok(response) if well(response) && rendered(response).is_none())
}
