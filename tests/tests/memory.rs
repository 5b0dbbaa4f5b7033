//! Constant memory. Alone in its process, so that nothing else is counted.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops where something unexpected happens"
)]

use portcullis_tests::{TestGateway, Upstream, within};

const LONG: usize = 64 * 1024 * 1024;

/// Resident memory of this process in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<usize>()
        .unwrap()
        * 1024
}

#[tokio::test]
async fn a_long_upload_and_a_long_download_need_little_memory() {
    let upstream = Upstream::bind().await;
    let gateway = TestGateway::to(upstream.addr()).await;
    let mut client = gateway.client().await;
    let before = resident();
    let serving = upstream.script(|mut peer| async move {
        let head = peer.head().await;
        assert_eq!(
            head.header("content-length"),
            Some(LONG.to_string().as_str())
        );
        peer.swallow(LONG).await;
        peer.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {LONG}\r\n\r\n"))
            .await;
        peer.send_zeroes(LONG).await.unwrap();
        peer
    });
    client
        .send(format!(
            "POST / HTTP/1.1\r\nhost: test\r\ncontent-length: {LONG}\r\n\r\n"
        ))
        .await;
    within("the upload", client.send_zeroes(LONG))
        .await
        .unwrap();
    assert_eq!(client.head().await.status(), 200);
    client.swallow(LONG).await;
    let peer = serving.await.unwrap();
    let grown = resident().saturating_sub(before);
    assert!(grown < 24 * 1024 * 1024, "{grown} bytes more than before");
    drop(peer);
    let ended = gateway.ended().await;
    assert_eq!(
        (ended.bytes_in, ended.bytes_out, ended.aborted),
        (LONG as u64, LONG as u64, false)
    );
}
