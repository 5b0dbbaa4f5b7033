use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::LocalSet;

use super::*;

/// What `open` tells about a server that answers its first request at once, its second after `stall`, and others at once.
async fn told(stall: Duration, grace: Duration, change: impl FnOnce(&mut Settings)) -> Value {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = Target {
        address: SocketAddr::from(([127, 0, 0, 1], listener.local_addr().unwrap().port())),
        protocol: Protocol::H1,
        host: "a".into(),
        path: "/".into(),
        body: 2,
        ca: None,
    };
    let mut settings = Settings {
        target,
        rate: 1000.0,
        seconds: 0.1,
        warmup: 0.0,
        connections: 1,
        streams: 1,
    };
    change(&mut settings);
    let serve = async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 1024];
        for number in 0.. {
            if stream.read(&mut request).await.unwrap() == 0 {
                return;
            }
            if number == 1 {
                tokio::time::sleep(stall).await;
            }
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                .await
                .unwrap();
        }
    };
    let load = async move {
        tokio::task::spawn_local(serve);
        let schedule = Rc::new(Schedule::new(&settings));
        let requesters = connect(&settings).await.unwrap();
        let mut late = drive(&schedule, requesters, grace).await.unwrap();
        assert_eq!(late.len() as u64, schedule.total);
        result(&schedule, &mut late, &settings)
    };
    LocalSet::new().run_until(load).await
}

#[tokio::test]
async fn a_stall_is_charged_with_every_request_that_was_due_meanwhile() {
    let told = told(Duration::from_millis(60), Duration::from_secs(30), |_| {}).await;
    assert_eq!(
        (&told["requests"], &told["bad"], &told["unfinished"]),
        (&100.into(), &0.into(), &0.into())
    );
    // Of 100 requests, a millisecond apart, the first 31 waited for 30 ms or more.
    assert!(told["max_us"].as_f64().unwrap() >= 60_000.0, "{told}");
    assert!(told["p90_us"].as_f64().unwrap() >= 30_000.0, "{told}");
}

#[tokio::test]
async fn requests_without_a_reply_count_with_the_time_they_waited() {
    let told = told(Duration::from_secs(600), Duration::from_millis(20), |_| {}).await;
    assert_eq!(
        (&told["requests"], &told["bad"], &told["unfinished"]),
        (&100.into(), &0.into(), &100.into())
    );
    assert!(
        told["p50_us"].as_f64().unwrap() >= 20_000.0 + 50_000.0,
        "{told}"
    );
}

#[tokio::test]
async fn the_warm_up_is_not_told() {
    let told = told(Duration::ZERO, Duration::from_secs(30), |settings| {
        settings.warmup = 0.05
    })
    .await;
    assert_eq!(
        (&told["requests"], &told["unfinished"]),
        (&100.into(), &0.into())
    );
}
