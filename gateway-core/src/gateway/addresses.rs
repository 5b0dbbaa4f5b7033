//! Open connections by the address of the client, for a limit that one client cannot use up for all.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::hygiene::TrustedProxies;

/// Locks that connections of different clients take; a power of two.
const SHARDS: usize = 16;

/// How many connections clients have open. Nothing is counted while there is no limit.
#[derive(Debug, Default)]
pub(crate) struct Addresses {
    /// 0 for no limit.
    limit: AtomicUsize,
    trusted: Mutex<TrustedProxies>,
    shards: [Shard; SHARDS],
    hasher: std::hash::RandomState,
}

#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard(Mutex<HashMap<Client, usize>>);

/// What counts as one client. A host has a /64 of IPv6 to itself (RFC 6177), so single addresses say nothing there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Client {
    V4(u32),
    V6(u64),
}

impl From<IpAddr> for Client {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.to_bits()),
            IpAddr::V6(address) => Self::V6((address.to_bits() >> 64) as u64),
        }
    }
}

impl Addresses {
    /// Changes the limit and who is exempt from it. What is open stays open.
    pub(crate) fn set(&self, limit: Option<usize>, trusted: &TrustedProxies) {
        *lock(&self.trusted) = trusted.clone();
        self.limit.store(limit.unwrap_or(0), Ordering::Relaxed);
    }

    /// Counts a connection until the visit is dropped; `None` when its client has as many as it may.
    pub(crate) fn enter(self: &Arc<Self>, peer: Option<IpAddr>) -> Option<Visit> {
        let limit = self.limit.load(Ordering::Relaxed);
        let (Some(peer), 1..) = (peer, limit) else {
            return Some(Visit(None));
        };
        if lock(&self.trusted).contains(peer) {
            return Some(Visit(None));
        }
        let client = Client::from(peer);
        let mut open = lock(&self.shard(client).0);
        let count = open.entry(client).or_insert(0);
        if *count >= limit {
            return None;
        }
        *count += 1;
        Some(Visit(Some((self.clone(), client))))
    }

    fn leave(&self, client: Client) {
        let mut open = lock(&self.shard(client).0);
        let Some(count) = open.get_mut(&client) else {
            return;
        };
        *count -= 1;
        if *count == 0 {
            open.remove(&client);
            // What a wave of clients left behind.
            if open.is_empty() {
                open.shrink_to(64);
            }
        }
    }

    fn shard(&self, client: Client) -> &Shard {
        let hash = self.hasher.hash_one(client);
        &self.shards[usize::try_from(hash % SHARDS as u64).unwrap_or(0)]
    }
}

/// A connection that is counted, if connections are.
#[derive(Debug)]
pub(crate) struct Visit(Option<(Arc<Addresses>, Client)>);

impl Drop for Visit {
    fn drop(&mut self) {
        if let Some((addresses, client)) = &self.0 {
            addresses.leave(*client);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn clients_are_counted_apart_and_networks_of_ipv6_together() {
        let addresses = Arc::new(Addresses::default());
        addresses.set(Some(2), &TrustedProxies::default());
        let first = addresses.enter(peer("192.0.2.1")).unwrap();
        let _second = addresses.enter(peer("::ffff:192.0.2.1")).unwrap();
        assert!(addresses.enter(peer("192.0.2.1")).is_none());
        assert!(addresses.enter(peer("192.0.2.2")).is_some());
        drop(first);
        assert!(addresses.enter(peer("192.0.2.1")).is_some());

        let _third = addresses.enter(peer("2001:db8::1")).unwrap();
        let _fourth = addresses.enter(peer("2001:db8::2")).unwrap();
        assert!(addresses.enter(peer("2001:db8::3")).is_none());
        assert!(addresses.enter(peer("2001:db8:0:1::1")).is_some());
    }

    #[test]
    fn trusted_proxies_and_sockets_without_addresses_are_exempt() {
        let addresses = Arc::new(Addresses::default());
        let proxies = TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap()]);
        addresses.set(Some(1), &proxies);
        let visits: Vec<_> = (0..5)
            .map(|_| [addresses.enter(peer("10.1.2.3")), addresses.enter(None)])
            .collect();
        assert!(visits.iter().flatten().all(Option::is_some));
    }

    #[test]
    fn nothing_is_kept_of_clients_that_left_or_were_never_counted() {
        let addresses = Arc::new(Addresses::default());
        let uncounted = addresses.enter(peer("192.0.2.1"));
        addresses.set(Some(1), &TrustedProxies::default());
        let visit = addresses.enter(peer("192.0.2.1"));
        assert!(visit.is_some(), "what came before the limit does not count");
        // A limit that goes away while something is counted.
        addresses.set(None, &TrustedProxies::default());
        drop((uncounted, visit));
        assert!(
            addresses
                .shards
                .iter()
                .all(|shard| lock(&shard.0).is_empty())
        );
    }
}
