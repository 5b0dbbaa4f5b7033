//! What holds for every [`Discovery`], as a check to run an implementation through.
//!
//! ```
//! use std::time::Duration;
//! use portcullis_core::upstream::{EndpointSpec, StaticDiscovery, law};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let discovery = StaticDiscovery::new([EndpointSpec::new(([10, 0, 0, 1], 80))]);
//! law::check_discovery(&discovery, Duration::from_millis(50)).await;
//! # }
//! ```

use std::collections::HashSet;
use std::time::Duration;

use futures_util::StreamExt;

use crate::clock::Clock;
use crate::upstream::discovery::{BoxStream, Discovery, DiscoveryError, EndpointUpdate};
use crate::upstream::spec::{EndpointAddress, EndpointSpec};

/// More items than this within the window mean a source that spins.
const MOST_ITEMS: usize = 10_000;

/// Watches `discovery` for `window` (with a paused clock that takes no time) and then again.
///
/// The source has to be up: the first good item must arrive within the window.
///
/// # Panics
/// When a law is broken.
pub async fn check_discovery(discovery: &dyn Discovery, window: Duration) {
    if let Some(specs) = discovery.initial() {
        distinct(&specs, "initial endpoints");
    }
    let mut first = sendable(discovery.watch());
    let mut known = begins_with_all(&mut first, window).await;
    stays_consistent(&mut first, &mut known, window).await;
    let mut beside = discovery.watch();
    begins_with_all(&mut beside, window).await;
    drop((first, beside));
    begins_with_all(&mut discovery.watch(), window).await;
}

type Updates = BoxStream<'static, Result<EndpointUpdate, DiscoveryError>>;

/// Compiles only for streams that may move between threads.
fn sendable<S: Send>(stream: S) -> S {
    stream
}

/// The first good item arrives in time and tells all endpoints.
async fn begins_with_all(updates: &mut Updates, window: Duration) -> HashSet<EndpointAddress> {
    let good = async {
        loop {
            match updates.next().await {
                Some(Ok(update)) => return Some(update),
                Some(Err(_)) => {}
                None => return None,
            }
        }
    };
    match tokio::time::timeout(window, good).await {
        Ok(Some(EndpointUpdate::Replace(specs))) => {
            distinct(&specs, "a replacement");
            specs.into_iter().map(|spec| spec.address).collect()
        }
        Ok(Some(EndpointUpdate::Gone)) => HashSet::new(),
        Ok(Some(other)) => {
            panic!("a stream must begin with all endpoints, this one began with {other:?}")
        }
        Ok(None) => panic!("the stream ended before its first good item"),
        Err(_) => panic!("no good item within {window:?}"),
    }
}

/// What follows within the window fits what was said before.
async fn stays_consistent(
    updates: &mut Updates,
    known: &mut HashSet<EndpointAddress>,
    window: Duration,
) {
    let end = Clock.now() + window;
    for _ in 0..MOST_ITEMS {
        // a stream may end; it is watched again then
        let Ok(Some(item)) = tokio::time::timeout_at(end, updates.next()).await else {
            return;
        };
        match item {
            Ok(EndpointUpdate::Replace(specs)) => {
                distinct(&specs, "a replacement");
                *known = specs.into_iter().map(|spec| spec.address).collect();
            }
            Ok(EndpointUpdate::Upsert(specs)) => {
                distinct(&specs, "an upsert");
                known.extend(specs.into_iter().map(|spec| spec.address));
            }
            Ok(EndpointUpdate::Remove(addresses)) => {
                for address in addresses {
                    assert!(
                        known.remove(&address),
                        "{address} was removed but never there"
                    );
                }
            }
            Ok(EndpointUpdate::Gone) => known.clear(),
            Err(_) => {}
        }
    }
    panic!("more than {MOST_ITEMS} items within {window:?}: the source does not wait");
}

fn distinct(specs: &[EndpointSpec], what: &str) {
    let mut seen = HashSet::new();
    for spec in specs {
        assert!(
            seen.insert(spec.key()),
            "{what} names {} twice",
            spec.address
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::StaticDiscovery;
    use futures_util::stream;

    fn spec(port: u16) -> EndpointSpec {
        EndpointSpec::new(([127, 0, 0, 1], port))
    }

    #[tokio::test(start_paused = true)]
    async fn a_fixed_list_keeps_the_laws() {
        check_discovery(
            &StaticDiscovery::new([spec(1), spec(2)]),
            Duration::from_secs(9),
        )
        .await;
    }

    #[tokio::test(start_paused = true)]
    #[should_panic(expected = "names 127.0.0.1:1 twice")]
    async fn duplicates_break_them() {
        check_discovery(
            &StaticDiscovery::new([spec(1), spec(1)]),
            Duration::from_secs(9),
        )
        .await;
    }

    #[derive(Debug)]
    struct Silent;

    impl Discovery for Silent {
        fn watch(&self) -> Updates {
            Box::pin(stream::pending())
        }
    }

    #[tokio::test(start_paused = true)]
    #[should_panic(expected = "no good item")]
    async fn a_source_that_never_speaks_breaks_them() {
        check_discovery(&Silent, Duration::from_secs(9)).await;
    }
}
