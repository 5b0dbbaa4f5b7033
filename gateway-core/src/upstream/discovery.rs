//! Where endpoints come from.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use futures_core::Stream;
use futures_util::{StreamExt, stream};

use crate::upstream::spec::{EndpointAddress, EndpointSpec};

/// A boxed stream that may move between threads.
pub type BoxStream<'a, T> = Pin<Box<dyn Stream<Item = T> + Send + 'a>>;

/// What [`Discovery::watch`] returns.
pub type EndpointStream = BoxStream<'static, Result<EndpointUpdate, DiscoveryError>>;

/// A change of an upstream's endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndpointUpdate {
    /// These are all endpoints. An empty list means that there are none.
    Replace(Vec<EndpointSpec>),
    /// These are new or changed; the others stay.
    Upsert(Vec<EndpointSpec>),
    /// Every endpoint at these addresses is gone; the others stay.
    Remove(Vec<EndpointAddress>),
    /// What was watched does not exist (any more). All endpoints are gone until the next `Replace` or
    /// `Upsert`.
    Gone,
}

/// Why a source could not say what the endpoints are.
///
/// The upstream keeps its last endpoints meanwhile.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct DiscoveryError {
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl DiscoveryError {
    /// An error that says what was attempted on what.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            source: None,
        }
    }

    /// Adds the cause.
    #[must_use]
    pub fn caused_by(mut self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(cause.into());
        self
    }
}

/// A source of endpoints: a file, a name server, an orchestrator.
///
/// # Contract
/// - `watch` is called again whenever its stream has ended, each time for a stream of its own. It starts
///   nothing by itself: work happens while the stream is polled and ends when it is dropped.
/// - The first good item of a stream is [`Replace`](EndpointUpdate::Replace) or
///   [`Gone`](EndpointUpdate::Gone), so that what was missed in between is made up for.
/// - No endpoint (address and host name) appears twice in one update.
/// - An `Err` leaves the endpoints as they are, and the stream may go on. It must not return errors in a
///   tight loop: wait before trying again. A stream that cannot go on ends; the driver pauses, longer each
///   time, and watches again.
/// - A stream that has nothing to say stays pending. It may say the same again: identical updates cost
///   nothing and show that the source is alive.
///
/// `upstream::law` checks this for any implementation (feature `testing`).
///
/// # Example
/// ```
/// use portcullis_core::upstream::{Discovery, EndpointSpec, EndpointStream, EndpointUpdate};
/// use tokio::sync::watch;
///
/// /// Endpoints that a control loop of the embedding program decides.
/// #[derive(Debug)]
/// struct Steered(watch::Receiver<Vec<EndpointSpec>>);
///
/// impl Discovery for Steered {
///     fn watch(&self) -> EndpointStream {
///         let mut source = self.0.clone();
///         source.mark_changed(); // the first item comes at once
///         Box::pin(futures_util::stream::unfold(source, |mut source| async move {
///             source.changed().await.ok()?;
///             let specs = source.borrow_and_update().clone();
///             Some((Ok(EndpointUpdate::Replace(specs)), source))
///         }))
///     }
/// }
/// ```
///
/// # Wrong and right
/// ```
/// # use std::time::Duration;
/// # use portcullis_core::upstream::{DiscoveryError, EndpointSpec, EndpointStream, EndpointUpdate, poll_every};
/// # use futures_util::stream;
/// # fn read() -> Result<Vec<EndpointSpec>, DiscoveryError> { Ok(Vec::new()) }
/// // Wrong: read once, when `watch` is called. The stream ends and is watched again for ever.
/// fn wrong() -> EndpointStream {
///     let update = read().map(EndpointUpdate::Replace);
///     Box::pin(stream::once(async move { update }))
/// }
/// // Right: read when polled, and again after a while.
/// fn right() -> EndpointStream {
///     poll_every(Duration::from_secs(10), || async { read() })
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a source of endpoints",
    label = "this type does not implement `Discovery`",
    note = "implement `Discovery::watch`, which returns a stream of `EndpointUpdate`s",
    note = "for a fixed list of endpoints use `StaticDiscovery`, for a host name `DnsDiscovery`"
)]
pub trait Discovery: Debug + Send + Sync + 'static {
    /// A new stream of updates, beginning with all endpoints there are.
    fn watch(&self) -> EndpointStream;

    /// The endpoints that are known without waiting, so that an upstream can take requests from the moment
    /// it is built. Must not block.
    fn initial(&self) -> Option<Vec<EndpointSpec>> {
        None
    }
}

/// Asks `fetch` for all endpoints there are, at once and then every `period`: the stream of a source that
/// cannot tell of changes by itself.
///
/// Nothing happens while the stream is not polled. An error leaves the endpoints as they are until the next
/// period.
pub fn poll_every<F, Fut>(period: Duration, fetch: F) -> EndpointStream
where
    F: FnMut() -> Fut + Send + 'static,
    Fut: Future<Output = Result<Vec<EndpointSpec>, DiscoveryError>> + Send + 'static,
{
    Box::pin(stream::unfold(
        (fetch, false),
        move |(mut fetch, again)| async move {
            if again {
                tokio::time::sleep(period).await;
            }
            let update = fetch().await.map(EndpointUpdate::Replace);
            Some((update, (fetch, true)))
        },
    ))
}

/// A fixed list.
#[derive(Clone, Debug)]
pub struct StaticDiscovery {
    endpoints: Vec<EndpointSpec>,
}

impl StaticDiscovery {
    /// Always these endpoints.
    #[must_use]
    pub fn new(endpoints: impl IntoIterator<Item = EndpointSpec>) -> Self {
        Self {
            endpoints: endpoints.into_iter().collect(),
        }
    }
}

impl Discovery for StaticDiscovery {
    fn watch(&self) -> EndpointStream {
        let all = Ok(EndpointUpdate::Replace(self.endpoints.clone()));
        Box::pin(stream::iter([all]).chain(stream::pending()))
    }

    fn initial(&self) -> Option<Vec<EndpointSpec>> {
        Some(self.endpoints.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn polls_at_once_and_then_every_period() {
        let mut calls = 0_u16;
        let mut stream = poll_every(Duration::from_secs(10), move || {
            calls += 1;
            let call = calls;
            async move {
                match call {
                    2 => Err(DiscoveryError::new("asking the registry")),
                    port => Ok(vec![EndpointSpec::new(([10, 0, 0, 1], port))]),
                }
            }
        });
        let began = tokio::time::Instant::now();
        let first = stream.next().await.unwrap().unwrap();
        assert_eq!(
            first,
            EndpointUpdate::Replace(vec![EndpointSpec::new(([10, 0, 0, 1], 1))])
        );
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert!(stream.next().await.unwrap().is_err());
        assert!(stream.next().await.unwrap().is_ok());
        assert_eq!(began.elapsed(), Duration::from_secs(20));
    }
}
