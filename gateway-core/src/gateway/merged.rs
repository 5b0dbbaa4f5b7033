//! Several discoveries that together feed one upstream.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::{self, SelectAll};

use crate::upstream::{
    BoxStream, Discovery, DiscoveryError, EndpointAddress, EndpointSpec, EndpointUpdate,
};

/// The endpoints of all its sources.
#[derive(Debug)]
pub(super) struct MergedDiscovery {
    sources: Vec<Arc<dyn Discovery>>,
}

impl MergedDiscovery {
    pub(super) fn new(sources: Vec<Arc<dyn Discovery>>) -> Self {
        Self { sources }
    }
}

impl Discovery for MergedDiscovery {
    fn watch(&self) -> BoxStream<'static, Result<EndpointUpdate, DiscoveryError>> {
        let streams = self
            .sources
            .iter()
            .enumerate()
            .map(|(source, discovery)| discovery.watch().map(move |update| (source, update)).boxed());
        let all: SelectAll<_> = stream::select_all(streams);
        let mut sets: Vec<Option<BTreeMap<EndpointAddress, EndpointSpec>>> = vec![None; self.sources.len()];
        let merged = all.map(move |(source, update)| {
            let update = update?;
            if let Some(set) = sets.get_mut(source) {
                apply(set.get_or_insert_default(), update);
            }
            let union = sets.iter().flatten().flat_map(BTreeMap::values).cloned().collect();
            Ok(EndpointUpdate::Replace(union))
        });
        Box::pin(merged)
    }

    fn initial(&self) -> Option<Vec<EndpointSpec>> {
        let known: Vec<EndpointSpec> = self
            .sources
            .iter()
            .filter_map(|source| source.initial())
            .flatten()
            .collect();
        (!known.is_empty()).then_some(known)
    }
}

fn apply(set: &mut BTreeMap<EndpointAddress, EndpointSpec>, update: EndpointUpdate) {
    match update {
        EndpointUpdate::Replace(specs) => {
            set.clear();
            set.extend(specs.into_iter().map(|spec| (spec.address.clone(), spec)));
        }
        EndpointUpdate::Upsert(specs) => {
            set.extend(specs.into_iter().map(|spec| (spec.address.clone(), spec)));
        }
        EndpointUpdate::Remove(addresses) => {
            for address in addresses {
                set.remove(&address);
            }
        }
        EndpointUpdate::Gone => set.clear(),
    }
}
