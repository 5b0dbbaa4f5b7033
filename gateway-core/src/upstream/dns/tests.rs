use std::collections::VecDeque;
use std::sync::Mutex;

use futures_util::StreamExt;

use super::*;
use crate::clock::Instant;
use crate::upstream::law;

/// Gives its answers in turn, the last one for ever.
#[derive(Debug)]
struct Scripted(Mutex<VecDeque<Option<Vec<u8>>>>);

impl Scripted {
    fn new(answers: &[Option<&[u8]>]) -> Arc<Self> {
        let answers = answers.iter().map(|answer| answer.map(<[u8]>::to_vec));
        Arc::new(Self(Mutex::new(answers.collect())))
    }
}

impl Resolve for Scripted {
    fn resolve<'a>(&'a self, _: &'a str, port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        let mut answers = self.0.lock().unwrap();
        let answer = if answers.len() > 1 {
            answers.pop_front()
        } else {
            answers.front().cloned()
        };
        Box::pin(async move {
            let hosts = answer
                .flatten()
                .ok_or_else(|| io::Error::other("no such host"))?;
            Ok(hosts
                .iter()
                .map(|host| ([10, 0, 0, *host], port).into())
                .collect())
        })
    }
}

fn discovery(answers: &[Option<&[u8]>]) -> DnsDiscovery {
    DnsDiscovery::new("orders.svc", 80).with_resolver(Scripted::new(answers))
}

fn addresses(update: Result<EndpointUpdate, DiscoveryError>) -> Vec<String> {
    match update.unwrap() {
        EndpointUpdate::Replace(specs) => specs.iter().map(|s| s.address.to_string()).collect(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn asks_again_at_the_interval() {
    let begin = Instant::now();
    let mut updates = discovery(&[Some(&[2, 1, 2]), Some(&[3])]).watch();
    assert_eq!(
        addresses(updates.next().await.unwrap()),
        ["10.0.0.1:80", "10.0.0.2:80"]
    );
    assert_eq!(begin.elapsed(), Duration::ZERO);
    assert_eq!(addresses(updates.next().await.unwrap()), ["10.0.0.3:80"]);
    assert_eq!(begin.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_failed_lookup_is_an_error_and_is_repeated_sooner() {
    let begin = Instant::now();
    let mut updates = discovery(&[None, Some(&[]), Some(&[1])]).watch();
    let error = updates.next().await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "resolving orders.svc");
    assert!(
        updates.next().await.unwrap().is_err(),
        "an empty answer is a failure"
    );
    assert_eq!(addresses(updates.next().await.unwrap()), ["10.0.0.1:80"]);
    assert!(begin.elapsed() < Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn endpoints_carry_the_name_but_not_an_address_as_name() {
    let named = discovery(&[Some(&[1])])
        .watch()
        .next()
        .await
        .unwrap()
        .unwrap();
    let EndpointUpdate::Replace(named) = named else {
        panic!()
    };
    assert_eq!(named[0].hostname.as_deref(), Some("orders.svc"));
    let bare = DnsDiscovery::new("::1", 80).initial().unwrap();
    assert_eq!(
        (bare[0].hostname.as_deref(), bare[0].address.to_string()),
        (None, "[::1]:80".to_owned())
    );
}

#[tokio::test(start_paused = true)]
async fn keeps_the_laws() {
    let discovery = discovery(&[Some(&[1, 2])]);
    law::check_discovery(&discovery, Duration::from_secs(60)).await;
}

#[tokio::test]
async fn the_system_resolver_knows_addresses() {
    let found = SystemResolver.resolve("127.0.0.1", 8080).await.unwrap();
    assert_eq!(found, ["127.0.0.1:8080".parse().unwrap()]);
}
