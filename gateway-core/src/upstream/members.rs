//! The endpoints of an upstream, kept by identity.

use std::collections::HashMap;
use std::sync::Arc;

use crate::upstream::discovery::EndpointUpdate;
use crate::upstream::endpoint::Endpoint;
use crate::upstream::outlier::Signal;
use crate::upstream::spec::{EndpointKey, EndpointSpec};

/// Endpoints in the order of discovery, and where each is.
#[derive(Debug, Default)]
pub(super) struct Members {
    list: Vec<Arc<Endpoint>>,
    index: HashMap<EndpointKey, usize>,
}

impl Members {
    pub(super) fn list(&self) -> &[Arc<Endpoint>] {
        &self.list
    }

    /// Takes over the endpoints of another upstream, with all they learned.
    pub(super) fn adopt(&mut self, endpoints: &[Arc<Endpoint>], signal: &Arc<Signal>) {
        self.list = endpoints
            .iter()
            .map(|endpoint| endpoint.renewed(endpoint.spec().clone(), signal))
            .collect();
        self.reindex();
    }

    /// Applies `update`; says whether anything changed.
    pub(super) fn apply(&mut self, update: EndpointUpdate, signal: &Arc<Signal>) -> bool {
        match update {
            EndpointUpdate::Replace(specs) => self.replace(specs, signal),
            EndpointUpdate::Upsert(specs) => {
                let upserted = specs.into_iter().map(|spec| self.upsert(spec, signal));
                upserted.fold(false, |changed, this| changed | this)
            }
            EndpointUpdate::Remove(addresses) => {
                let before = self.list.len();
                self.list
                    .retain(|endpoint| !addresses.contains(endpoint.address()));
                self.reindex();
                before != self.list.len()
            }
            EndpointUpdate::Gone => self.replace(Vec::new(), signal),
        }
    }

    fn replace(&mut self, specs: Vec<EndpointSpec>, signal: &Arc<Signal>) -> bool {
        let before = std::mem::take(self);
        for spec in specs {
            let key = spec.key();
            let known = before.index.get(&key).and_then(|at| before.list.get(*at));
            let endpoint = match known {
                Some(endpoint) if *endpoint.spec() == spec => Arc::clone(endpoint),
                Some(endpoint) => endpoint.renewed(spec, signal),
                None => Endpoint::joining(spec, signal),
            };
            self.put(key, endpoint);
        }
        let same = before.list.len() == self.list.len()
            && before
                .list
                .iter()
                .zip(&self.list)
                .all(|(a, b)| Arc::ptr_eq(a, b));
        !same
    }

    fn upsert(&mut self, spec: EndpointSpec, signal: &Arc<Signal>) -> bool {
        let key = spec.key();
        let known = self.index.get(&key).and_then(|at| self.list.get(*at));
        let endpoint = match known {
            Some(endpoint) if *endpoint.spec() == spec => return false,
            Some(endpoint) => endpoint.renewed(spec, signal),
            None => Endpoint::joining(spec, signal),
        };
        self.put(key, endpoint);
        true
    }

    /// Of endpoints with the same identity the last one stays, in the place of the first.
    fn put(&mut self, key: EndpointKey, endpoint: Arc<Endpoint>) {
        match self.index.get(&key).and_then(|at| self.list.get_mut(*at)) {
            Some(place) => *place = endpoint,
            None => {
                self.index.insert(key, self.list.len());
                self.list.push(endpoint);
            }
        }
    }

    fn reindex(&mut self) {
        let keys = self.list.iter().map(|endpoint| endpoint.spec().key());
        self.index = keys.enumerate().map(|(at, key)| (key, at)).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(port: u16) -> EndpointSpec {
        EndpointSpec::new(([127, 0, 0, 1], port))
    }

    fn members(ports: &[u16]) -> (Members, Arc<Signal>) {
        let (mut members, signal) = (Members::default(), Arc::new(Signal::new(None)));
        let specs = ports.iter().copied().map(spec).collect();
        members.apply(EndpointUpdate::Replace(specs), &signal);
        (members, signal)
    }

    fn ports(members: &Members) -> Vec<u16> {
        let addresses = members.list().iter().map(|e| e.address().socket());
        addresses.map(|address| address.unwrap().port()).collect()
    }

    #[test]
    fn endpoints_are_kept_by_identity() {
        let (mut members, signal) = members(&[1, 2]);
        let kept = Arc::clone(&members.list()[1]);
        let update = EndpointUpdate::Replace(vec![spec(3), spec(2)]);
        assert!(members.apply(update.clone(), &signal));
        assert_eq!(ports(&members), [3, 2]);
        assert!(Arc::ptr_eq(&members.list()[1], &kept));
        assert!(
            !members.apply(update, &signal),
            "the same again is no change"
        );
    }

    #[test]
    fn a_new_weight_keeps_the_id() {
        let (mut members, signal) = members(&[1]);
        let before = members.list()[0].id();
        assert!(members.apply(
            EndpointUpdate::Upsert(vec![spec(1).with_weight(5)]),
            &signal
        ));
        let after = &members.list()[0];
        assert_eq!((after.id(), after.weight()), (before, 5));
    }

    #[test]
    fn upserts_and_removals_leave_the_others() {
        let (mut members, signal) = members(&[1, 2]);
        assert!(members.apply(EndpointUpdate::Upsert(vec![spec(3)]), &signal));
        assert!(members.apply(EndpointUpdate::Remove(vec![spec(1).address]), &signal));
        assert!(!members.apply(EndpointUpdate::Remove(vec![spec(9).address]), &signal));
        assert_eq!(ports(&members), [2, 3]);
        assert!(members.apply(
            EndpointUpdate::Upsert(vec![spec(2).with_weight(2)]),
            &signal
        ));
        assert_eq!(members.list()[0].weight(), 2, "the index moved along");
    }

    #[test]
    fn host_names_tell_endpoints_apart_and_duplicates_collapse() {
        let (mut members, signal) = members(&[]);
        let update = vec![
            spec(1).with_hostname("a"),
            spec(1).with_hostname("b"),
            spec(1).with_hostname("a").with_weight(7),
        ];
        members.apply(EndpointUpdate::Replace(update), &signal);
        let weights: Vec<u32> = members.list().iter().map(|e| e.weight()).collect();
        assert_eq!(weights, [7, 1]);
        assert!(members.apply(EndpointUpdate::Gone, &signal));
        assert!(members.list().is_empty());
    }
}
