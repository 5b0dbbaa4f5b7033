//! Where endpoints come from.

use std::fmt::Debug;
use std::pin::Pin;

use futures_core::Stream;
use futures_util::{StreamExt, stream};

use crate::upstream::spec::{EndpointAddress, EndpointSpec};

/// A boxed stream that may move between threads.
pub type BoxStream<'a, T> = Pin<Box<dyn Stream<Item = T> + Send + 'a>>;

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
/// use portcullis_core::upstream::{
///     BoxStream, Discovery, DiscoveryError, EndpointSpec, EndpointUpdate,
/// };
/// use tokio::sync::watch;
///
/// /// Endpoints that a control loop of the embedding program decides.
/// #[derive(Debug)]
/// struct Steered(watch::Receiver<Vec<EndpointSpec>>);
///
/// impl Discovery for Steered {
///     fn watch(&self) -> BoxStream<'static, Result<EndpointUpdate, DiscoveryError>> {
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
/// # use portcullis_core::upstream::{BoxStream, DiscoveryError, EndpointUpdate};
/// # use futures_util::stream;
/// # fn read() -> Result<EndpointUpdate, DiscoveryError> { Ok(EndpointUpdate::Gone) }
/// // Wrong: read once, when `watch` is called. The stream ends and is watched again for ever.
/// fn wrong() -> BoxStream<'static, Result<EndpointUpdate, DiscoveryError>> {
///     let update = read();
///     Box::pin(stream::once(async move { update }))
/// }
/// // Right: read when polled, and again after a while.
/// fn right() -> BoxStream<'static, Result<EndpointUpdate, DiscoveryError>> {
///     Box::pin(stream::unfold(false, |again| async move {
///         if again {
///             tokio::time::sleep(std::time::Duration::from_secs(10)).await;
///         }
///         Some((read(), true))
///     }))
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
    fn watch(&self) -> BoxStream<'static, Result<EndpointUpdate, DiscoveryError>>;

    /// The endpoints that are known without waiting, so that an upstream can take requests from the moment
    /// it is built. Must not block.
    fn initial(&self) -> Option<Vec<EndpointSpec>> {
        None
    }
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
    fn watch(&self) -> BoxStream<'static, Result<EndpointUpdate, DiscoveryError>> {
        let all = Ok(EndpointUpdate::Replace(self.endpoints.clone()));
        Box::pin(stream::iter([all]).chain(stream::pending()))
    }

    fn initial(&self) -> Option<Vec<EndpointSpec>> {
        Some(self.endpoints.clone())
    }
}
