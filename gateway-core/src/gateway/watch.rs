//! Reading the configuration again when its files change.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{RecursiveMode, Watcher};
use tokio::sync::mpsc;

use super::handle::GatewayHandle;
use crate::balance::stable_hash;
use crate::spawn::spawn;

/// Editors and Kubernetes write in several steps: changes are looked at once they have paused.
const SETTLE: Duration = Duration::from_millis(100);
/// Some network file systems report nothing: files are looked at anyway.
const POLL: Duration = Duration::from_secs(10);

/// Watches what the live configuration depends on and reloads when contents changed. Ends with the gateway.
pub(super) fn start(handle: &GatewayHandle) {
    let (changed, mut changes) = mpsc::channel(1);
    let mut paths = handle.watched();
    let mut watching = watcher(&paths, changed.clone());
    let handle = handle.downgrade();
    spawn(async move {
        let mut seen = contents(&paths);
        loop {
            // Both are cancel safe: a lost wake-up is made good by the poll.
            tokio::select! {
                _ = changes.recv() => {}
                () = tokio::time::sleep(POLL) => {}
            }
            tokio::time::sleep(SETTLE).await;
            while changes.try_recv().is_ok() {}
            let now = contents(&paths);
            if now == seen {
                continue;
            }
            seen = now;
            let Some(handle) = handle.upgrade() else { return };
            handle.reload_and_tell("files changed");
            // The new configuration may name other files, such as certificates.
            let named = handle.watched();
            if named != paths {
                paths = named;
                drop(watching);
                watching = watcher(&paths, changed.clone());
                seen = contents(&paths);
            }
        }
    });
}

/// Watches folders, not files: a mounted ConfigMap changes by a link that is swapped beside the files.
fn watcher(paths: &[PathBuf], changed: mpsc::Sender<()>) -> Option<notify::RecommendedWatcher> {
    let notice = move |event: notify::Result<notify::Event>| {
        if event.is_ok() {
            // Full means that a change is on its way already.
            let _ = changed.try_send(());
        }
    };
    let mut watcher = match notify::recommended_watcher(notice) {
        Ok(watcher) => watcher,
        Err(error) => {
            tracing::warn!(%error, "files cannot be watched; they are looked at every 10 s instead");
            return None;
        }
    };
    for path in paths {
        let folder = if path.is_dir() {
            path.clone()
        } else {
            path.parent()
                .filter(|parent| !parent.as_os_str().is_empty())
                .unwrap_or(Path::new("."))
                .to_owned()
        };
        if let Err(error) = watcher.watch(&folder, RecursiveMode::NonRecursive) {
            tracing::warn!(folder = %folder.display(), %error, "this folder cannot be watched; it is looked at every 10 s instead");
        }
    }
    Some(watcher)
}

/// What the files hold, so that touching one changes nothing.
fn contents(paths: &[PathBuf]) -> BTreeMap<PathBuf, u64> {
    let mut seen = BTreeMap::new();
    for path in paths {
        if path.is_dir() {
            let Ok(entries) = std::fs::read_dir(path) else { continue };
            for entry in entries.flatten() {
                note(&entry.path(), &mut seen);
            }
        } else {
            note(path, &mut seen);
        }
    }
    seen
}

fn note(path: &Path, seen: &mut BTreeMap<PathBuf, u64>) {
    if let Ok(data) = std::fs::read(path) {
        seen.insert(path.to_owned(), stable_hash(&data));
    }
}
