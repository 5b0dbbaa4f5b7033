//! A connection while one request uses it.

use std::fmt;
use std::sync::Arc;

use super::{Place, Pool, Pooled};
use crate::proto::h1::Connection;

/// A connection lent to one request. Dropped unfinished, it is closed: its state is not known.
pub(crate) struct Lease {
    pooled: Box<Pooled>,
    pool: Arc<Pool>,
    reused: bool,
}

impl Lease {
    /// A connection that was idle.
    pub(crate) fn reused(pooled: Box<Pooled>, pool: Arc<Pool>) -> Self {
        Self {
            pooled,
            pool,
            reused: true,
        }
    }

    /// A connection that was just made.
    pub(crate) fn fresh(connection: Connection, place: Place, pool: Arc<Pool>) -> Self {
        Self {
            pooled: Box::new(Pooled {
                connection,
                _place: place,
            }),
            pool,
            reused: false,
        }
    }

    pub(crate) fn connection(&mut self) -> &mut Connection {
        &mut self.pooled.connection
    }

    pub(crate) fn was_reused(&self) -> bool {
        self.reused
    }

    /// The response is complete; the connection goes back to the pool if it can serve again.
    pub(crate) fn finish(self, reusable: bool) {
        if reusable {
            self.pool.put_back(self.pooled);
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("pooled", &self.pooled)
            .field("reused", &self.reused)
            .finish_non_exhaustive()
    }
}
