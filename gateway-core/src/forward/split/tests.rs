use http::{HeaderMap, HeaderName, HeaderValue};

use super::*;
use crate::connect::DirectConnector;
use crate::forward::UpstreamSettings;
use crate::upstream::{EndpointSpec, Health, Upstream};

/// A backend with one endpoint.
fn backend(name: &str, weight: u32, priority: u32) -> Backend {
    let upstream = Upstream::fixed(name, [EndpointSpec::new(([127, 0, 0, 1], 80))]);
    let connector = Arc::new(DirectConnector::plaintext());
    let client = UpstreamClient::new(upstream, connector, UpstreamSettings::default());
    Backend {
        priority,
        ..Backend::new(Arc::new(client), weight)
    }
}

fn exchange() -> Exchange {
    Exchange::new(Arc::default())
}

fn name(backend: &Backend) -> String {
    backend.client.upstream().name().to_string()
}

fn set_health(split: &Split, position: usize, health: Health) {
    let upstream = split.backends()[position].client.upstream();
    upstream.snapshot().endpoints()[0].set_health(health);
    upstream.refresh();
}

/// How often each backend is chosen, in their order.
fn counts(split: &Split, requests: usize) -> Vec<f64> {
    let (headers, exchange) = (HeaderMap::new(), exchange());
    let mut counts = vec![0.0; split.backends().len()];
    for _ in 0..requests {
        let chosen = name(split.choose(&headers, &exchange).unwrap());
        let mut backends = split.backends().iter();
        counts[backends.position(|b| name(b) == chosen).unwrap()] += 1.0;
    }
    counts
}

#[test]
fn shares_follow_weights_and_zero_takes_none() {
    let weights = [1, 0, 3, 6];
    let backends = ["a", "b", "c", "d"].iter().zip(weights);
    let split = Split::new(backends.map(|(name, w)| backend(name, w, 0)).collect());
    let requests = 20_000;
    let counts = counts(&split, requests);
    assert_eq!(counts[1], 0.0);
    let chi_square: f64 = counts
        .iter()
        .zip(weights)
        .filter(|(_, weight)| *weight > 0)
        .map(|(count, weight)| {
            let expected = requests as f64 * f64::from(weight) / 10.0;
            (count - expected).powi(2) / expected
        })
        .sum();
    // two degrees of freedom: a fair split exceeds this once in a hundred million runs
    assert!(chi_square < 37.0, "{chi_square} from {counts:?}");
}

#[test]
fn nothing_is_chosen_when_all_weights_are_zero() {
    let exchange = exchange();
    for split in [
        Split::default(),
        Split::new(vec![backend("a", 0, 0)]),
        Split::new(vec![backend("a", 0, 0), backend("b", 0, 0)]),
        Split::new(vec![backend("a", 0, 0), backend("b", 0, 1)]),
    ] {
        assert!(split.choose(&HeaderMap::new(), &exchange).is_none());
    }
}

#[test]
fn the_next_priority_takes_over_while_the_first_has_no_healthy_endpoint() {
    let split = Split::new(vec![
        backend("a", 1, 0),
        backend("b", 1, 0),
        backend("spare", 1, 1),
    ]);
    assert_eq!(counts(&split, 500)[2], 0.0);
    set_health(&split, 0, Health::Unhealthy);
    assert_eq!(counts(&split, 100), [0.0, 100.0, 0.0]);
    set_health(&split, 1, Health::Unhealthy);
    assert_eq!(counts(&split, 100), [0.0, 0.0, 100.0]);
    set_health(&split, 2, Health::Unhealthy);
    assert_eq!(
        counts(&split, 100)[2],
        0.0,
        "with none healthy the first are tried"
    );
    set_health(&split, 0, Health::Healthy);
    assert_eq!(counts(&split, 100), [100.0, 0.0, 0.0]);
}

#[test]
fn a_client_stays_until_its_backend_fails() {
    let sticky = Sticky::header(HeaderName::from_static("x-on"), "all");
    let backends = vec![backend("a", 1, 0), backend("b", 1, 0), backend("b", 1, 0)];
    let split = Split::sticky(backends, sticky);
    let ask = |headers: &HeaderMap| {
        let exchange = exchange();
        let chosen = split.choose(headers, &exchange).unwrap();
        let position = split
            .backends()
            .iter()
            .position(|b| std::ptr::eq(b, chosen));
        let mut told = HeaderMap::new();
        Marks::write_backend(&exchange, &mut told);
        (position.unwrap(), told)
    };
    let (first, token) = ask(&HeaderMap::new());
    for _ in 0..50 {
        assert_eq!(ask(&token), (first, HeaderMap::new()));
    }
    set_health(&split, first, Health::Unhealthy);
    let (second, again) = ask(&token);
    assert_ne!(second, first);
    assert_eq!(ask(&again), (second, HeaderMap::new()));
    let forged = HeaderMap::from_iter([(
        HeaderName::from_static("x-on"),
        HeaderValue::from_static("0123456789abcdef"),
    )]);
    assert!(
        ask(&forged).1.contains_key("x-on"),
        "it is given a true one"
    );
}
