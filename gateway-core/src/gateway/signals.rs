//! What the process is told by the system.

use super::GatewayHandle;

/// The signals of an operator, caught from its creation on.
#[cfg(unix)]
pub(super) struct Signals(Option<[tokio::signal::unix::Signal; 4]>);

#[cfg(unix)]
impl Signals {
    pub(super) fn catch() -> Self {
        use tokio::signal::unix::{SignalKind, signal};

        let kinds = [
            SignalKind::terminate(),
            SignalKind::interrupt(),
            SignalKind::hangup(),
            SignalKind::user_defined1(),
        ];
        let [Ok(terminate), Ok(interrupt), Ok(reload), Ok(reopen)] = kinds.map(signal) else {
            return Self(None);
        };
        Self(Some([terminate, interrupt, reload, reopen]))
    }

    /// Serves signals until one of them means the end.
    pub(super) async fn until_told(self, handle: &GatewayHandle) {
        let Some([mut terminate, mut interrupt, mut reload, mut reopen]) = self.0 else {
            return never().await;
        };
        loop {
            // Receiving a signal is cancel safe.
            tokio::select! {
                _ = terminate.recv() => return,
                _ = interrupt.recv() => return,
                _ = reload.recv() => handle.reload_and_tell("SIGHUP"),
                _ = reopen.recv() => handle.reopen_logs(),
            }
        }
    }
}

/// Ctrl-c, where it is the only signal.
#[cfg(not(unix))]
pub(super) struct Signals;

#[cfg(not(unix))]
impl Signals {
    pub(super) fn catch() -> Self {
        Self
    }

    /// Waits for ctrl-c.
    pub(super) async fn until_told(self, _: &GatewayHandle) {
        if tokio::signal::ctrl_c().await.is_err() {
            never().await;
        }
    }
}

/// Serving goes on although nobody can end it politely.
async fn never() {
    tracing::error!("signals cannot be received; end the process to stop the gateway");
    std::future::pending().await
}
