//! Requests at a fixed rate, whatever the replies do.
//!
//! Request number `i` is due `i / rate` seconds after the start. When all connections are busy then, it waits, and
//! the wait counts: latency is from the time a request was due to the end of its reply. A proxy that stands still for a
//! while is so charged with every request it made late, not only with the few that were on their way (what is called
//! coordinated omission).

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use clap::Args;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::clock::{Alarm, SECOND, now, seconds};
use crate::http1::Exchange;
use crate::http2;
use crate::summary::{Summary, microseconds, percentile};
use crate::target::{Dialer, Failure, Protocol, Stream, Target};

#[derive(Debug, Args)]
pub(crate) struct Settings {
    #[command(flatten)]
    target: Target,
    /// Requests per second
    #[arg(long)]
    rate: f64,
    /// How long it is measured, in seconds
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// How long it runs before, in seconds
    #[arg(long, default_value_t = 0.5)]
    warmup: f64,
    /// Number of connections
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Requests at a time on each of them; only HTTP/2 has more than one
    #[arg(long, default_value_t = 1)]
    streams: usize,
}

/// How long requests that are late may take after the last one was due.
const GRACE: Duration = Duration::from_secs(1);

/// When requests are due, and what became of them.
#[derive(Debug)]
struct Schedule {
    /// Nanoseconds of the clock at which request 0 is due.
    start: Cell<u64>,
    /// Nanoseconds between two requests.
    interval: f64,
    /// Requests in all, and how many of them only warm up.
    total: u64,
    warming: u64,
    /// A permit for each request that is due and not taken. Waiting connections get them in the order in which they
    /// began to wait, so all of them are used.
    due: Semaphore,
    /// The next request to be taken, and how many are finished.
    next: Cell<u64>,
    finished: Cell<u64>,
    /// Which requests are not finished.
    pending: RefCell<Vec<bool>>,
    summary: RefCell<Summary>,
}

impl Schedule {
    fn new(settings: &Settings) -> Self {
        let total = (settings.rate * (settings.seconds + settings.warmup)) as u64;
        Self {
            start: Cell::new(0),
            interval: 1e9 / settings.rate,
            total,
            warming: (settings.rate * settings.warmup) as u64,
            due: Semaphore::new(0),
            next: Cell::new(0),
            finished: Cell::new(0),
            pending: RefCell::new(vec![true; usize::try_from(total).unwrap_or(0)]),
            summary: RefCell::default(),
        }
    }

    fn due_at(&self, request: u64) -> u64 {
        self.start.get() + (request as f64 * self.interval) as u64
    }

    /// Waits for a request to be due and takes it; none when there will be no more.
    async fn take(&self) -> Option<u64> {
        self.due.acquire().await.ok()?.forget();
        let request = self.next.get();
        self.next.set(request + 1);
        Some(request)
    }

    fn finish(&self, request: u64, outcome: Result<(), Failure>) {
        self.finished.set(self.finished.get() + 1);
        if let Ok(place) = usize::try_from(request)
            && let Some(pending) = self.pending.borrow_mut().get_mut(place)
        {
            *pending = false;
        }
        match outcome {
            Ok(()) if request < self.warming => {}
            Ok(()) => self
                .summary
                .borrow_mut()
                .good(now().saturating_sub(self.due_at(request))),
            Err(failure) => self.summary.borrow_mut().bad(&failure),
        }
    }

    /// Lets requests go when they are due; how late it was with each, in nanoseconds.
    async fn dispatch(&self, alarm: &mut Alarm) -> Result<Vec<u64>, Failure> {
        let mut late = Vec::with_capacity(usize::try_from(self.total).unwrap_or(0));
        let mut request = 0;
        self.start.set(now() + SECOND / 100);
        while request < self.total {
            alarm.sleep_until(self.due_at(request)).await?;
            let (time, first) = (now(), request);
            while request < self.total && self.due_at(request) <= time {
                late.push(time - self.due_at(request));
                request += 1;
            }
            self.due
                .add_permits(usize::try_from(request - first).unwrap_or(0));
        }
        Ok(late)
    }
}

/// What one of the concurrent requesters speaks with.
enum Requester {
    One {
        stream: Box<dyn Stream>,
        exchange: Rc<Exchange>,
        buffer: Vec<u8>,
    },
    Many {
        requests: h2::client::SendRequest<bytes::Bytes>,
        dialer: Dialer,
    },
}

impl Requester {
    async fn exchange(&mut self) -> Result<(), Failure> {
        match self {
            Self::One {
                stream,
                exchange,
                buffer,
            } => exchange.run(&mut **stream, buffer).await,
            Self::Many { requests, dialer } => http2::exchange(dialer, requests).await,
        }
    }
}

pub(crate) async fn run(settings: Settings) -> Result<Value, Failure> {
    let schedule = Rc::new(Schedule::new(&settings));
    let requesters = connect(&settings).await?;
    crate::ready()?;
    let mut late = drive(&schedule, requesters, GRACE).await?;
    Ok(result(&schedule, &mut late, &settings))
}

/// Makes the requests of the schedule; how late each was let go, in nanoseconds.
async fn drive(
    schedule: &Rc<Schedule>,
    requesters: Vec<Requester>,
    grace: Duration,
) -> Result<Vec<u64>, Failure> {
    let mut tasks = JoinSet::new();
    for mut requester in requesters {
        let schedule = Rc::clone(schedule);
        tasks.spawn_local(async move {
            while let Some(request) = schedule.take().await {
                let outcome = requester.exchange().await;
                let broken = outcome.is_err();
                schedule.finish(request, outcome);
                if broken {
                    return;
                }
            }
        });
    }
    let late = schedule.dispatch(&mut Alarm::new()?).await?;
    let last = schedule.due_at(schedule.total) + seconds(grace.as_secs_f64());
    while schedule.finished.get() < schedule.total && now() < last {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    tasks.abort_all();
    Ok(late)
}

/// Opens all connections and makes a request on each, so that the schedule begins with everything in place.
async fn connect(settings: &Settings) -> Result<Vec<Requester>, Failure> {
    let dialer = Dialer::new(&settings.target)?;
    let exchange = Rc::new(Exchange::new(&settings.target));
    let mut requesters = Vec::new();
    for _ in 0..settings.connections {
        match settings.target.protocol {
            Protocol::H1 | Protocol::Tls => requesters.push(Requester::One {
                stream: dialer.stream().await?,
                exchange: Rc::clone(&exchange),
                buffer: Vec::new(),
            }),
            Protocol::H2 => {
                let requests = http2::connect(&dialer).await?;
                for _ in 0..settings.streams {
                    requesters.push(Requester::Many {
                        requests: requests.clone(),
                        dialer: dialer.clone(),
                    });
                }
            }
        }
    }
    let mut warming = JoinSet::new();
    for mut requester in requesters {
        warming.spawn_local(async move { requester.exchange().await.map(|()| requester) });
    }
    warming.join_all().await.into_iter().collect()
}

fn result(schedule: &Schedule, late: &mut [u64], settings: &Settings) -> Value {
    let mut summary = schedule.summary.borrow_mut();
    let end = now();
    let mut unfinished = 0_u64;
    for (request, _) in (0..)
        .zip(&*schedule.pending.borrow())
        .filter(|(_, pending)| **pending)
    {
        unfinished += 1;
        // It took at least so long; leaving it out would flatter.
        summary.good(end.saturating_sub(schedule.due_at(request)));
    }
    late.sort_unstable();
    let mut result = summary.tell();
    result["unfinished"] = unfinished.into();
    result["rate"] = settings.rate.into();
    result["seconds"] = settings.seconds.into();
    result["late_p99_us"] = microseconds(percentile(late, 99.0)).into();
    result
}

#[cfg(test)]
mod tests;
