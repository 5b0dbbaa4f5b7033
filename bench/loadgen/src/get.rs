//! One request, and everything about its reply.

use rustls::CommonState;
use serde_json::{Value, json};

use crate::http1::Exchange;
use crate::http2;
use crate::target::{Dialer, Failure, Protocol, Target};

pub(crate) async fn run(target: &Target) -> Result<Value, Failure> {
    let dialer = Dialer::new(target)?;
    let exchange = Exchange::new(target);
    let mut buffer = Vec::new();
    let (status, body, tls) = match target.protocol {
        Protocol::H1 => {
            let (status, body) = exchange
                .reply(&mut dialer.tcp().await?, &mut buffer)
                .await?;
            (status, body.to_vec(), Value::Null)
        }
        Protocol::Tls => {
            let mut stream = dialer.tls().await?;
            let tls = agreed(stream.get_ref().1);
            let (status, body) = exchange.reply(&mut stream, &mut buffer).await?;
            (status, body.to_vec(), tls)
        }
        Protocol::H2 => {
            let tls = agreed(dialer.tls().await?.get_ref().1);
            let requests = http2::connect(&dialer).await?;
            let mut body = Vec::new();
            let status =
                http2::reply(&dialer, &requests, |piece| body.extend_from_slice(piece)).await?;
            (status, body, tls)
        }
    };
    Ok(
        json!({ "status": status, "length": body.len(), "body": String::from_utf8_lossy(&body), "tls": tls }),
    )
}

/// What the two sides of a connection agreed on.
fn agreed(state: &CommonState) -> Value {
    json!({
        "version": state.protocol_version().map(|version| format!("{version:?}")),
        "suite": state.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite())),
        "group": state.negotiated_key_exchange_group().map(|group| format!("{:?}", group.name())),
        "alpn": state.alpn_protocol().map(String::from_utf8_lossy),
    })
}
