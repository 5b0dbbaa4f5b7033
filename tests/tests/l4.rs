//! Listeners that do not speak HTTP.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops where something unexpected happens"
)]

use portcullis::error::BoxError;
use portcullis::handler::BoxFuture;
use portcullis::l4::{ClientConnection, ConnHandler, DrainWatch};
use portcullis::{Gateway, GatewayHandle, NoConfig};
use portcullis_tests::within;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Greets with the listener's name, sends back what it receives, and says goodbye when the gateway drains.
#[derive(Debug)]
struct Parrot;

impl ConnHandler for Parrot {
    fn serve(
        &self,
        connection: ClientConnection,
        drain: DrainWatch,
    ) -> BoxFuture<'static, Result<(), BoxError>> {
        Box::pin(async move {
            let greeting = format!("hello from {}\n", connection.info.listener);
            let (mut read, mut write) = tokio::io::split(connection.transport);
            write.write_all(greeting.as_bytes()).await?;
            tokio::select! {
                copied = tokio::io::copy(&mut read, &mut write) => {
                    copied?;
                }
                () = drain.draining() => write.write_all(b"bye\n").await?,
            }
            write.shutdown().await?;
            Ok(())
        })
    }
}

async fn parrot() -> GatewayHandle {
    let registry = portcullis::registry()
        .conn_handler("parrot", |_: NoConfig, _| Ok(Parrot))
        .build()
        .unwrap();
    Gateway::builder(registry)
        .yaml("listeners: [{ name: raw, bind: '127.0.0.1:0', handler: { type: parrot } }]")
        .workers(1)
        .without_admin()
        .build()
        .unwrap()
        .start()
        .await
        .unwrap()
}

async fn read_exactly(stream: &mut TcpStream, expected: &str) {
    let mut seen = vec![0; expected.len()];
    within("the bytes", stream.read_exact(&mut seen))
        .await
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&seen), expected);
}

#[tokio::test]
async fn a_connection_handler_serves_whole_connections() {
    let gateway = parrot().await;
    let mut client = TcpStream::connect(gateway.local_addr("raw").unwrap())
        .await
        .unwrap();
    read_exactly(&mut client, "hello from raw\n").await;
    client.write_all(b"not http\r\n").await.unwrap();
    read_exactly(&mut client, "not http\r\n").await;
    client.shutdown().await.unwrap();
    let mut rest = Vec::new();
    within("the end", client.read_to_end(&mut rest))
        .await
        .unwrap();
    assert!(rest.is_empty());
    gateway.shutdown().await;
}

#[tokio::test]
async fn a_connection_handler_is_told_of_the_drain() {
    let gateway = parrot().await;
    let mut client = TcpStream::connect(gateway.local_addr("raw").unwrap())
        .await
        .unwrap();
    read_exactly(&mut client, "hello from raw\n").await;
    let drained = tokio::spawn(async move { gateway.shutdown().await });
    read_exactly(&mut client, "bye\n").await;
    within("the drain", drained).await.unwrap();
}

#[tokio::test]
async fn filters_beside_a_connection_handler_are_a_mistake() {
    let registry = portcullis::registry()
        .conn_handler("parrot", |_: NoConfig, _| Ok(Parrot))
        .build()
        .unwrap();
    let refused = Gateway::builder(registry)
        .yaml(
            "listeners: [{ name: raw, bind: '127.0.0.1:0', handler: { type: parrot }, \
             filters: [{ type: request-id }] }]",
        )
        .workers(1)
        .build()
        .unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("has a connection handler and filters"),
        "{refused}"
    );
}
