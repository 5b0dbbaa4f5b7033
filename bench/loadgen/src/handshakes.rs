//! A full TLS handshake for every request.

use std::cell::RefCell;
use std::rc::Rc;

use clap::Args;
use rustls::{HandshakeKind, ProtocolVersion};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;

use crate::clock::{now, seconds};
use crate::http1::Exchange;
use crate::summary::Summary;
use crate::target::{Dialer, Failure, Target};

#[derive(Debug, Args)]
pub(crate) struct Settings {
    #[command(flatten)]
    target: Target,
    /// Handshakes at a time
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// How long it lasts, in seconds
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
}

/// After so many failures a loop ends: the target is gone, and trying on would spin.
const FAILURES: u32 = 8;

/// Runs closed loops: each connects, makes one request and closes, then begins again.
pub(crate) async fn run(settings: Settings) -> Result<Value, Failure> {
    let dialer = Dialer::new(&settings.target)?;
    let exchange = Rc::new(Exchange::new(&settings.target));
    let summary = Rc::new(RefCell::new(Summary::default()));
    let begin = now();
    let end = begin + seconds(settings.seconds);
    let mut loops = JoinSet::new();
    for _ in 0..settings.connections {
        let (dialer, exchange, summary) =
            (dialer.clone(), Rc::clone(&exchange), Rc::clone(&summary));
        loops.spawn_local(async move {
            let (mut buffer, mut failures) = (Vec::new(), 0);
            while now() < end && failures < FAILURES {
                let start = now();
                match once(&dialer, &exchange, &mut buffer).await {
                    Ok(()) => summary.borrow_mut().good(now() - start),
                    Err(failure) => {
                        failures += 1;
                        summary.borrow_mut().bad(&failure);
                    }
                }
            }
        });
    }
    loops.join_all().await;
    let mut result = summary.borrow_mut().tell();
    let took = (now() - begin) as f64 / 1e9;
    result["seconds"] = took.into();
    Ok(result)
}

async fn once(dialer: &Dialer, exchange: &Exchange, buffer: &mut Vec<u8>) -> Result<(), Failure> {
    let mut stream = dialer.tls().await?;
    let state = stream.get_ref().1;
    let full = matches!(
        state.handshake_kind(),
        Some(HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest)
    );
    if !full || state.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
        return Err(Failure::NotFull);
    }
    exchange.run(&mut stream, buffer).await?;
    // The server may be faster and close too, which is not what is measured.
    let _ = stream.shutdown().await;
    Ok(())
}
