//! Connections that made one request and now do nothing.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use clap::Args;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::clock::now;
use crate::http1::Exchange;
use crate::summary::Summary;
use crate::target::{Dialer, Failure, Stream, Target};

#[derive(Debug, Args)]
pub(crate) struct Settings {
    #[command(flatten)]
    target: Target,
    /// How many
    #[arg(long)]
    connections: usize,
}

/// Connections being opened, or asked again, at a time.
const AT_A_TIME: usize = 32;

/// Opens the connections, says ready, and asks each again when told to, to see whether it is still there.
pub(crate) async fn run(settings: Settings) -> Result<Value, Failure> {
    let dialer = Dialer::new(&settings.target)?;
    let exchange = Rc::new(Exchange::new(&settings.target));
    let summary = Rc::new(RefCell::new(Summary::default()));
    let open: Rc<RefCell<Vec<Box<dyn Stream>>>> = Rc::default();
    let left = Rc::new(Cell::new(settings.connections));
    let mut openers = JoinSet::new();
    for _ in 0..AT_A_TIME {
        let (dialer, exchange, summary) =
            (dialer.clone(), Rc::clone(&exchange), Rc::clone(&summary));
        let (open, left) = (Rc::clone(&open), Rc::clone(&left));
        openers.spawn_local(async move {
            let mut buffer = Vec::new();
            while left.get() > 0 {
                left.set(left.get() - 1);
                match first(&dialer, &exchange, &mut buffer).await {
                    Ok(stream) => open.borrow_mut().push(stream),
                    Err(failure) => summary.borrow_mut().bad(&failure),
                }
            }
        });
    }
    openers.join_all().await;
    let opened = open.borrow().len();
    crate::ready()?;
    let mut askers = JoinSet::new();
    for _ in 0..AT_A_TIME {
        let (exchange, summary, open) =
            (Rc::clone(&exchange), Rc::clone(&summary), Rc::clone(&open));
        askers.spawn_local(async move {
            let mut buffer = Vec::new();
            loop {
                let Some(mut stream) = open.borrow_mut().pop() else {
                    return;
                };
                let start = now();
                match exchange.run(&mut *stream, &mut buffer).await {
                    Ok(()) => summary.borrow_mut().good(now() - start),
                    Err(failure) => summary.borrow_mut().bad(&failure),
                }
            }
        });
    }
    askers.join_all().await;
    let mut result = summary.borrow_mut().tell();
    result["connections"] = opened.into();
    Ok(result)
}

async fn first(
    dialer: &Dialer,
    exchange: &Exchange,
    buffer: &mut Vec<u8>,
) -> Result<Box<dyn Stream>, Failure> {
    let mut stream = dialer.stream().await?;
    exchange.run(&mut *stream, buffer).await?;
    Ok(stream)
}
