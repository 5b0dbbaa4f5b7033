//! Values that other code hangs onto an endpoint or an upstream.

use std::any::Any;
use std::fmt;
use std::sync::OnceLock;

/// One value per type, created on first use and kept for the owner's lifetime.
///
/// Code that owns something per endpoint (a connection pool, a tunnel, metric handles) keeps it here, without
/// this module knowing its type and without a map of its own to clean up. Reading takes no lock. Types are
/// looked for one after the other, so this suits a handful of types: give each user one struct.
///
/// An attached value must not own the endpoint or upstream it is attached to, or neither is ever freed.
#[derive(Default)]
pub struct Attachments {
    first: OnceLock<Box<Node>>,
}

struct Node {
    value: Box<dyn Any + Send + Sync>,
    next: OnceLock<Box<Self>>,
}

impl Attachments {
    /// The attached `T`, if somebody attached one.
    #[must_use]
    pub fn find<T: Any + Send + Sync>(&self) -> Option<&T> {
        let mut slot = &self.first;
        loop {
            let node = slot.get()?;
            if let Some(value) = node.value.downcast_ref() {
                return Some(value);
            }
            slot = &node.next;
        }
    }

    /// The attached `T`, made by `init` when there is none yet.
    ///
    /// When threads race, `init` may run more than once; all of them see the same value in the end and the
    /// surplus is dropped. So `init` should have no effects of its own.
    pub fn find_or_init<T: Any + Send + Sync>(&self, init: impl Fn() -> T) -> &T {
        let mut slot = &self.first;
        let mut made: Option<Box<Node>> = None;
        loop {
            if let Some(node) = slot.get() {
                if let Some(value) = node.value.downcast_ref() {
                    return value;
                }
                slot = &node.next;
                continue;
            }
            let node = made.take().unwrap_or_else(|| {
                Box::new(Node {
                    value: Box::new(init()),
                    next: OnceLock::new(),
                })
            });
            // a thread that was faster may have attached another type here: then try the next slot
            made = slot.set(node).err();
        }
    }
}

impl fmt::Debug for Attachments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut count, mut slot) = (0, &self.first);
        while let Some(node) = slot.get() {
            count += 1;
            slot = &node.next;
        }
        f.debug_struct("Attachments")
            .field("count", &count)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_one_value_per_type() {
        let attachments = Attachments::default();
        assert_eq!(attachments.find::<u32>(), None);
        assert_eq!(*attachments.find_or_init(|| 7_u32), 7);
        assert_eq!(*attachments.find_or_init(|| "text"), "text");
        assert_eq!(*attachments.find_or_init(|| 8_u32), 7);
        assert_eq!(attachments.find::<&str>(), Some(&"text"));
    }

    #[test]
    fn racing_threads_see_the_same_value() {
        let attachments = Attachments::default();
        let seen: Vec<usize> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4_u64)
                .map(|number| {
                    let attachments = &attachments;
                    scope.spawn(move || {
                        if number % 2 == 0 {
                            attachments.find_or_init(|| "other");
                        }
                        std::ptr::from_ref(attachments.find_or_init(|| number)).addr()
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        assert!(seen.windows(2).all(|pair| pair[0] == pair[1]));
    }
}
