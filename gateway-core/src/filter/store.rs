//! State of plugins that outlives reloads.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::{Clock, Instant};

/// How long a value that nobody holds is kept: a route that a reload takes away may come back with the next one.
const KEEP: Duration = Duration::from_secs(600);
/// How many values that nobody holds are kept at most.
const MOST_UNUSED: usize = 1024;
/// Fewer values than this are not looked through.
const FEW: usize = 64;

/// State of plugins that outlives reloads, kept by the process.
///
/// A value lives as long as somebody holds it, and ten minutes longer; of the values that nobody holds, the 1024
/// used last are kept. They are looked for when new ones are made, at a cost that does not grow with their number.
#[derive(Default)]
pub struct StateStore {
    values: Mutex<Values>,
}

#[derive(Default)]
struct Values {
    kept: HashMap<(TypeId, String), Kept>,
    /// The store is looked through when it has so many values.
    sweep_at: usize,
}

struct Kept {
    value: Arc<dyn Any + Send + Sync>,
    /// When it was last seen in use.
    used: Instant,
}

impl StateStore {
    /// The value of type `T` under `key`, made by `init` the first time.
    pub fn shared<T: Any + Send + Sync>(&self, key: &str, init: impl FnOnce() -> T) -> Arc<T> {
        let now = Clock.now();
        let mut values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (TypeId::of::<T>(), key.to_owned());
        if let Some(kept) = values.kept.get_mut(&key)
            && let Ok(value) = kept.value.clone().downcast()
        {
            kept.used = now;
            return value;
        }
        let value = Arc::new(init());
        let kept = Kept {
            value: value.clone(),
            used: now,
        };
        values.kept.insert(key, kept);
        let expired = values.sweep(now);
        drop(values);
        // Outside of the lock: what a value does when it is dropped is its own affair.
        drop(expired);
        value
    }

    /// How many values there are.
    #[cfg(test)]
    fn len(&self) -> usize {
        let values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        values.kept.len()
    }
}

impl Values {
    /// Takes out what nobody has used for long. Done when the store has doubled, so that each new value pays for
    /// looking at two.
    fn sweep(&mut self, now: Instant) -> Vec<Kept> {
        if self.kept.len() < self.sweep_at.max(FEW) {
            return Vec::new();
        }
        let mut unused = Vec::new();
        for kept in self.kept.values_mut() {
            if Arc::strong_count(&kept.value) > 1 {
                kept.used = now;
            } else {
                unused.push(kept.used);
            }
        }
        // The latest use among those that go.
        let mut until = now.checked_sub(KEEP);
        if unused.len() > MOST_UNUSED {
            let surplus = unused.len() - MOST_UNUSED;
            let (_, last, _) = unused.select_nth_unstable(surplus - 1);
            until = until.max(Some(*last));
        }
        let expired = self
            .kept
            .extract_if(|_, kept| {
                Arc::strong_count(&kept.value) == 1 && until.is_some_and(|until| kept.used <= until)
            })
            .map(|(_, kept)| kept)
            .collect();
        self.sweep_at = self.kept.len() * 2;
        expired
    }
}

impl fmt::Debug for StateStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateStore").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_in_use_outlives_any_number_of_others() {
        let store = StateStore::default();
        let held = store.shared("held", || 7u32);
        for number in 0..100_000u32 {
            store.shared(&format!("{number}"), || number);
            if number % 1000 == 0 {
                tokio::time::advance(Duration::from_secs(60)).await;
            }
            assert!(store.len() <= 2 * (MOST_UNUSED + 1) + FEW);
        }
        let again = store.shared("held", || 8u32);
        assert!(Arc::ptr_eq(&held, &again));
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_holds_is_kept_for_a_while() {
        let store = StateStore::default();
        let fill = |from: u32| {
            for number in from..from + 200 {
                store.shared(&format!("{number}"), || number);
            }
        };
        store.shared("x", || 7u32);
        tokio::time::advance(KEEP / 2).await;
        fill(0);
        assert_eq!(*store.shared("x", || 8u32), 7);
        tokio::time::advance(KEEP).await;
        fill(1000);
        assert_eq!(*store.shared("x", || 9u32), 9);
        assert!(store.len() < 500);
    }

    #[test]
    fn types_do_not_see_each_other() {
        let store = StateStore::default();
        assert_eq!(*store.shared("x", || 1u8), 1);
        assert_eq!(*store.shared("x", || 2u16), 2);
    }
}
