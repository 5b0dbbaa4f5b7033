//! The one door through which the data plane starts tasks.

use std::future::Future;

use tokio::task::JoinHandle;

/// Starts a task on the runtime of the current worker.
///
/// The task must end by itself: with its connection, its upstream or the drain of the process.
#[allow(clippy::disallowed_methods)]
pub(crate) fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(future)
}
