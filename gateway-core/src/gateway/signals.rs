//! What the process is told by the system.

use super::GatewayHandle;

/// Serves signals until one of them means the end.
#[cfg(unix)]
pub(super) async fn until_told(handle: &GatewayHandle) {
    use tokio::signal::unix::{SignalKind, signal};

    let signals = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
        signal(SignalKind::hangup()),
        signal(SignalKind::user_defined1()),
    );
    let (Ok(mut terminate), Ok(mut interrupt), Ok(mut reload), Ok(mut reopen)) = signals else {
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

/// Waits for ctrl-c.
#[cfg(not(unix))]
pub(super) async fn until_told(_: &GatewayHandle) {
    if tokio::signal::ctrl_c().await.is_err() {
        never().await;
    }
}

/// Serving goes on although nobody can end it politely.
async fn never() {
    tracing::error!("signals cannot be received; end the process to stop the gateway");
    std::future::pending().await
}
