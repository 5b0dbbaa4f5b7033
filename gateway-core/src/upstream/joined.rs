//! Several sources of endpoints as one.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};

use crate::upstream::backoff::Backoff;
use crate::upstream::discovery::{BoxStream, Discovery, DiscoveryError, EndpointUpdate};
use crate::upstream::spec::EndpointSpec;

/// Pauses before a source that ended is watched again.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The endpoints of several sources together, each once; where two tell the same endpoint, the earlier source
/// counts.
///
/// A source that fails or ends keeps the endpoints it told, and the others go on. Until a source has told any,
/// the endpoints are those of the others.
#[derive(Clone, Debug)]
pub struct JoinedDiscovery {
    sources: Arc<[Arc<dyn Discovery>]>,
}

impl JoinedDiscovery {
    /// Joins the sources.
    #[must_use]
    pub fn new(sources: impl IntoIterator<Item = Arc<dyn Discovery>>) -> Self {
        Self {
            sources: sources.into_iter().collect(),
        }
    }
}

impl Discovery for JoinedDiscovery {
    fn watch(&self) -> BoxStream<'static, Result<EndpointUpdate, DiscoveryError>> {
        let mut known: Vec<Vec<EndpointSpec>> = self
            .sources
            .iter()
            .map(|source| source.initial().unwrap_or_default())
            .collect();
        let watched = self.sources.iter().enumerate().map(|(position, source)| {
            endless(Arc::clone(source))
                .map(move |item| (position, item))
                .boxed()
        });
        // Without sources the stream would end and be watched again for ever.
        let all = stream::select_all(watched).chain(stream::pending());
        Box::pin(all.map(move |(position, item)| {
            let update = item?;
            if let Some(list) = known.get_mut(position) {
                apply(list, update);
            }
            Ok(EndpointUpdate::Replace(distinct(&known)))
        }))
    }

    fn initial(&self) -> Option<Vec<EndpointSpec>> {
        let lists: Vec<_> = self
            .sources
            .iter()
            .filter_map(|source| source.initial())
            .collect();
        (!lists.is_empty()).then(|| distinct(&lists))
    }
}

/// The stream of a source, watched again whenever it ends.
fn endless(
    source: Arc<dyn Discovery>,
) -> BoxStream<'static, Result<EndpointUpdate, DiscoveryError>> {
    struct Watched {
        source: Arc<dyn Discovery>,
        stream: BoxStream<'static, Result<EndpointUpdate, DiscoveryError>>,
        pauses: Backoff,
    }
    let stream = source.watch();
    let watched = Watched {
        source,
        stream,
        pauses: Backoff::new(FIRST_PAUSE, LONGEST_PAUSE),
    };
    Box::pin(stream::unfold(watched, |mut watched| async move {
        loop {
            match watched.stream.next().await {
                Some(item) => {
                    if item.is_ok() {
                        watched.pauses.reset();
                    }
                    return Some((item, watched));
                }
                None => {
                    tokio::time::sleep(watched.pauses.next()).await;
                    watched.stream = watched.source.watch();
                }
            }
        }
    }))
}

fn apply(list: &mut Vec<EndpointSpec>, update: EndpointUpdate) {
    match update {
        EndpointUpdate::Replace(specs) => *list = specs,
        EndpointUpdate::Upsert(specs) => {
            for spec in specs {
                match list.iter_mut().find(|known| known.key() == spec.key()) {
                    Some(known) => *known = spec,
                    None => list.push(spec),
                }
            }
        }
        EndpointUpdate::Remove(addresses) => {
            list.retain(|known| !addresses.contains(&known.address))
        }
        EndpointUpdate::Gone => list.clear(),
    }
}

fn distinct(lists: &[Vec<EndpointSpec>]) -> Vec<EndpointSpec> {
    let mut seen = std::collections::HashSet::new();
    lists
        .iter()
        .flatten()
        .filter(|spec| seen.insert(spec.key()))
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::upstream::{StaticDiscovery, law};

    fn spec(last: u8) -> EndpointSpec {
        EndpointSpec::new(([10, 0, 0, last], 80))
    }

    /// Tells one script per call of `watch`; the last one stays open.
    #[derive(Debug)]
    struct Scripted(Mutex<Vec<Vec<Result<EndpointUpdate, &'static str>>>>);

    impl Discovery for Scripted {
        fn watch(&self) -> BoxStream<'static, Result<EndpointUpdate, DiscoveryError>> {
            let mut scripts = self.0.lock().unwrap();
            let script = scripts
                .remove(0)
                .into_iter()
                .map(|item| item.map_err(DiscoveryError::new));
            let stream = stream::iter(script);
            if scripts.is_empty() {
                stream.chain(stream::pending()).boxed()
            } else {
                stream.boxed()
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn keeps_the_law() {
        let joined = JoinedDiscovery::new([
            Arc::new(StaticDiscovery::new([spec(1), spec(2)])) as Arc<dyn Discovery>,
            Arc::new(StaticDiscovery::new([spec(2), spec(3)])),
        ]);
        assert_eq!(joined.initial().unwrap(), [spec(1), spec(2), spec(3)]);
        law::check_discovery(&joined, Duration::from_secs(5)).await;
        let mut nothing = JoinedDiscovery::new([]).watch();
        assert!(
            tokio::time::timeout(Duration::from_secs(60), nothing.next())
                .await
                .is_err()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn one_source_that_fails_does_not_take_the_others_along() {
        let flaky = Scripted(Mutex::new(vec![
            vec![Ok(EndpointUpdate::Replace(vec![spec(7)])), Err("down")],
            vec![
                Ok(EndpointUpdate::Upsert(vec![
                    spec(8),
                    spec(7).with_weight(3),
                ])),
                Ok(EndpointUpdate::Remove(vec![spec(8).address])),
                Ok(EndpointUpdate::Gone),
            ],
        ]));
        let joined = JoinedDiscovery::new([
            Arc::new(StaticDiscovery::new([spec(1)])) as Arc<dyn Discovery>,
            Arc::new(flaky),
        ]);
        let mut stream = joined.watch();
        let mut told = Vec::new();
        while let Ok(Some(item)) =
            tokio::time::timeout(Duration::from_secs(60), stream.next()).await
        {
            told.push(item.map_err(|error| error.to_string()));
        }
        let all = |specs: &[EndpointSpec]| Ok(EndpointUpdate::Replace(specs.to_vec()));
        let failed = Err("down".to_owned());
        assert_eq!(told.iter().filter(|item| **item == failed).count(), 1);
        told.retain(|item| *item != failed);
        let end = told.split_off(told.len() - 3);
        assert_eq!(
            end,
            [
                all(&[spec(1), spec(7).with_weight(3), spec(8)]),
                all(&[spec(1), spec(7).with_weight(3)]),
                all(&[spec(1)])
            ]
        );
        assert!(told.contains(&all(&[spec(1), spec(7)])));
    }
}
