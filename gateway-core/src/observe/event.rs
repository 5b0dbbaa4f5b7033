//! Events: what an embedding program can listen to.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::access_log::AccessRecord;

/// Listens to what the gateway does.
///
/// # Contract
///
/// [`Observer::on_event`] is called on the worker that serves the request or connection, between two
/// steps of its work. It must not block (no lock that others hold for long, no file, no network) and
/// must not panic; what takes time belongs on a channel to a thread of the observer's own. Events borrow
/// what they tell: copy what you keep. Events of one connection or request come in order; those of
/// different ones come from several threads at once.
///
/// ```
/// use portcullis_core::observe::{Event, Observer};
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// /// Counts the requests that failed.
/// #[derive(Default)]
/// struct Failures(AtomicU64);
///
/// impl Observer for Failures {
///     fn on_event(&self, event: &Event<'_>) {
///         if let Event::RequestEnd(request) = event
///             && (request.aborted || request.status >= 500)
///         {
///             self.0.fetch_add(1, Ordering::Relaxed);
///         }
///     }
/// }
///
/// let failures = Failures::default();
/// failures.on_event(&Event::ConfigApplied { generation: 1 });
/// assert_eq!(failures.0.load(Ordering::Relaxed), 0);
/// ```
///
/// Wrong, because a slow disk would then stop every connection of the worker:
///
/// ```
/// # use portcullis_core::observe::{Event, Observer};
/// struct ToDisk(std::sync::Mutex<std::fs::File>);
///
/// impl Observer for ToDisk {
///     fn on_event(&self, event: &Event<'_>) {
///         use std::io::Write as _;
///         let mut file = self.0.lock().unwrap();  // waits for other workers
///         let _ = writeln!(file, "{event:?}");    // waits for the disk
///     }
/// }
/// ```
pub trait Observer: Send + Sync + 'static {
    /// Told what just happened. Must not block and must not panic.
    fn on_event(&self, event: &Event<'_>);
}

/// Something that happened. More kinds will come: match with a wildcard arm.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A listener accepted a connection.
    ConnectionAccepted {
        /// Name of the listener.
        listener: &'a str,
        /// The other end; `None` on a Unix socket.
        peer: Option<SocketAddr>,
    },
    /// A listener accepted a connection and closed it without serving it, because of a limit or of how it began.
    ConnectionRefused {
        /// Name of the listener.
        listener: &'a str,
        /// The other end; `None` on a Unix socket.
        peer: Option<SocketAddr>,
        /// Which limit (`max_connections`, `max_connections_per_address` or `memory`), or what was wrong with how it began
        /// (such as `proxy_protocol_untrusted`, `client_hello_malformed` or `no_route`). More will come.
        reason: &'a str,
    },
    /// A connection ended.
    ConnectionClosed {
        /// Name of the listener.
        listener: &'a str,
        /// The other end; `None` on a Unix socket.
        peer: Option<SocketAddr>,
        /// How long it lived.
        duration: Duration,
    },
    /// A TLS handshake with a client ended.
    TlsHandshake {
        /// Name of the listener.
        listener: &'a str,
        /// The other end; `None` on a Unix socket.
        peer: Option<SocketAddr>,
        /// The server name the client asked for.
        sni: Option<&'a str>,
        /// What came of it.
        outcome: TlsOutcome<'a>,
    },
    /// A request ended: its reply was sent whole, or it was cut off.
    RequestEnd(&'a AccessRecord<'a>),
    /// A TCP connection or UDP session of a route ended.
    StreamEnd(&'a AccessRecord<'a>),
    /// A configuration went live.
    ConfigApplied {
        /// Number of the generation, counted from 1.
        generation: u64,
    },
    /// A configuration was refused; the one before goes on.
    ConfigRejected {
        /// Every problem, ready to be printed.
        problems: &'a [String],
    },
    /// An endpoint takes requests (again): it was discovered, its checks pass, or its ejection is over. Told of
    /// those the gateway starts with too.
    EndpointUp {
        /// Name of the upstream.
        upstream: &'a str,
        /// Address of the endpoint.
        endpoint: &'a str,
    },
    /// An endpoint takes no requests any more.
    EndpointDown {
        /// Name of the upstream.
        upstream: &'a str,
        /// Address of the endpoint.
        endpoint: &'a str,
        /// Why: `health` (its checks fail), `outlier` (ejected because requests failed) or `removed` (discovery or a
        /// reload took it away). More will come.
        reason: &'a str,
    },
}

/// How a TLS handshake ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsOutcome<'a> {
    /// The connection is encrypted with this version (`TLSv1.2` or `TLSv1.3`).
    Established(&'a str),
    /// It failed for this reason.
    Failed(&'a str),
}

/// A fixed list of observers, told one after the other. Cloning is one reference count.
#[derive(Clone, Default)]
pub struct Observers {
    /// `None` is the list of none, so that the usual case is one comparison.
    list: Option<Arc<[Arc<dyn Observer>]>>,
}

impl Observers {
    /// Those of `observers`, in their order.
    #[must_use]
    pub fn new(observers: Vec<Arc<dyn Observer>>) -> Self {
        let list = (!observers.is_empty()).then(|| observers.into());
        Self { list }
    }

    /// Nobody listens: an event need not be put together.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_none()
    }

    /// Tells everybody.
    pub fn emit(&self, event: &Event<'_>) {
        for observer in self.list.iter().flat_map(|list| list.iter()) {
            observer.on_event(event);
        }
    }
}

impl fmt::Debug for Observers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.list.as_ref().map_or(0, |list| list.len());
        write!(f, "Observers({count})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    struct Named(&'static str, Arc<Mutex<Vec<String>>>);

    impl Observer for Named {
        fn on_event(&self, event: &Event<'_>) {
            if let Event::ConfigApplied { generation } = event {
                self.1
                    .lock()
                    .unwrap()
                    .push(format!("{}{generation}", self.0));
            }
        }
    }

    #[test]
    fn observers_are_told_in_their_order() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let observers = Observers::new(vec![
            Arc::new(Named("a", Arc::clone(&seen))),
            Arc::new(Named("b", Arc::clone(&seen))),
        ]);
        observers.emit(&Event::ConfigApplied { generation: 1 });
        observers.emit(&Event::ConfigRejected { problems: &[] });
        observers.emit(&Event::ConfigApplied { generation: 2 });
        assert_eq!(*seen.lock().unwrap(), ["a1", "b1", "a2", "b2"]);
    }

    #[test]
    fn nobody_listening_is_known_beforehand() {
        assert!(Observers::default().is_empty());
        assert!(Observers::new(Vec::new()).is_empty());
    }
}
