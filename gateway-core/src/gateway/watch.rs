//! Reading the configuration again when its files change.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use notify::{RecursiveMode, Watcher};
use tokio::sync::mpsc;

use super::handle::GatewayHandle;
use crate::balance::stable_hash;
use crate::clock::Clock;
use crate::spawn::spawn;

/// Editors and Kubernetes write in several steps: changes are looked at once they have paused.
const SETTLE: Duration = Duration::from_millis(100);
/// Some network file systems report nothing: files are looked at anyway.
const POLL: Duration = Duration::from_secs(10);
/// Times of files lag behind the clock by up to a tick of the system.
const CLOCK_STEP: Duration = Duration::from_millis(10);

/// Watches the folders of what the live configuration depends on, and reloads when contents changed. Ends with
/// the runtime.
pub(super) fn start(handle: &GatewayHandle) {
    let (changed, mut changes) = mpsc::channel(1);
    let mut paths = handle.watched();
    let mut _watching = watcher(&paths, changed.clone());
    // Before anybody is told that the gateway runs: what changes from then on is news.
    let mut looked = Clock.wall();
    let mut seen = contents(&paths);
    let handle = handle.downgrade();
    spawn(async move {
        loop {
            // Both are cancel safe: a lost wake-up is made good by the poll.
            tokio::select! {
                _ = changes.recv() => {}
                () = tokio::time::sleep(POLL) => {}
            }
            tokio::time::sleep(SETTLE).await;
            while changes.try_recv().is_ok() {}
            let before = std::mem::replace(&mut looked, Clock.wall());
            let now = contents(&paths);
            let Some(handle) = handle.upgrade() else {
                return;
            };
            let changes_here = now != seen;
            if changes_here {
                seen = now;
                handle.reload_and_tell("files changed");
            }
            // This reload or another may have brought other files.
            let watched = handle.watched();
            if watched != paths {
                paths = watched;
                _watching = watcher(&paths, changed.clone());
                // Whoever reloaded may have read a file that is looked at for the first time before its last change.
                let reloaded = if changes_here { looked } else { before };
                seen = renewed(&seen, contents(&paths), reloaded);
                let _ = changed.try_send(());
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

/// What is known of the files of `now`: what was `seen`, and the new ones unless they changed after `since`.
fn renewed(
    seen: &BTreeMap<PathBuf, u64>,
    now: BTreeMap<PathBuf, u64>,
    since: SystemTime,
) -> BTreeMap<PathBuf, u64> {
    let known = |(path, hash): (PathBuf, u64)| match seen.get(&path) {
        Some(before) => Some((path, *before)),
        None if changed_after(&path, since) => None,
        None => Some((path, hash)),
    };
    now.into_iter().filter_map(known).collect()
}

/// Whether a file was written after `since`, as far as the file system can tell.
fn changed_after(path: &Path, since: SystemTime) -> bool {
    let modified = std::fs::metadata(path).and_then(|metadata| metadata.modified());
    modified.is_ok_and(|modified| modified + CLOCK_STEP >= since)
}

/// What the files hold, so that touching one changes nothing.
fn contents(paths: &[PathBuf]) -> BTreeMap<PathBuf, u64> {
    let mut seen = BTreeMap::new();
    for path in paths {
        if path.is_dir() {
            let Ok(entries) = std::fs::read_dir(path) else {
                continue;
            };
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
