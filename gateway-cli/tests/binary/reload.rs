//! Reloads under load lose nothing, and a broken configuration changes nothing.

use std::io::Read;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::Scope;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::{
    Client, Gateway, Nginx, Peer, Site, WebSocket, eventually, free_address, get,
};

const RELOADS: usize = 200;
const CLIENTS: usize = 8;

/// What the configuration of each turn is made of.
struct World {
    sites: [Nginx; 2],
    sockets: Peer,
    extra: SocketAddr,
}

impl World {
    fn new() -> Self {
        let sites = ["one", "two"].map(|name| {
            Nginx::start(&Site {
                name,
                ..Site::default()
            })
        });
        sites[0].publish("long.txt", &b"0123456789abcdef".repeat(1 << 16));
        Self {
            sites,
            sockets: Peer::start("ws_server.py", &[]),
            extra: free_address(),
        }
    }

    /// Every turn differs: routes, weights, filters, listeners and upstreams come, change and go.
    fn configuration(&self, turn: usize) -> String {
        let [one, two] = self.sites.each_ref().map(Nginx::address);
        let mut text = format!(
            "listeners:\n\
             - {{ name: web, bind: '127.0.0.1:0'{filters} }}\n\
             {extra}\
             routes:\n\
             - {{ name: turn, match: {{ path: {{ exact: /turn }} }}, filters: [{{ type: respond, body: '{turn}' }}] }}\n\
             - {{ name: socket, match: {{ path: /socket }}, backends: [{{ upstream: sockets }}] }}\n\
             - {{ name: slow, match: {{ path: /slow }}, backends: [{{ upstream: one }}] }}\n\
             - {{ name: who, match: {{ path: /who }}, backends: [{{ upstream: one, weight: {weight} }}, {{ upstream: two, weight: 3 }}] }}\n",
            filters = if turn.is_multiple_of(3) {
                ", filters: [{ type: request-id }]"
            } else {
                ""
            },
            extra = if turn.is_multiple_of(4) {
                format!("- {{ name: extra, bind: '{}' }}\n", self.extra)
            } else {
                String::new()
            },
            weight = 1 + turn % 5,
        );
        for more in 0..turn % 7 {
            text.push_str(&format!(
                "- {{ name: more-{more}, match: {{ hosts: [h{more}.example], path: /{turn} }}, backends: [{{ upstream: two }}] }}\n"
            ));
        }
        text.push_str(&format!(
            "upstreams:\n\
             - {{ name: one, endpoints: ['{one}'], health: {{ active: {{ path: /healthz, interval: 50ms, healthy: 1 }} }} }}\n\
             - {{ name: two, endpoints: ['{two}'] }}\n\
             - {{ name: sockets, endpoints: ['{}'] }}\n\
             {}",
            self.sockets.address(),
            if turn.is_multiple_of(2) { format!("- {{ name: spare, endpoints: ['{two}'] }}\n") } else { String::new() },
        ));
        text
    }
}

/// Clients that go on until told to stop, and what went wrong.
#[derive(Default)]
struct Load {
    stop: AtomicBool,
    answered: AtomicUsize,
    said: AtomicUsize,
    streamed: AtomicUsize,
    failures: Mutex<Vec<String>>,
}

impl Load {
    fn failed(&self, what: &str, error: impl std::fmt::Display) {
        self.failures
            .lock()
            .unwrap()
            .push(format!("{what}: {error}"));
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    fn start<'scope>(&'scope self, web: SocketAddr, scope: &'scope Scope<'scope, '_>) {
        for number in 0..CLIENTS {
            scope.spawn(move || {
                let mut client = Client::connect(web).expect("a connection");
                while self.goes_on() {
                    match client.get("/who") {
                        Ok(answer)
                            if answer.status == 200
                                && ["one\n", "two\n"].contains(&&*answer.text()) =>
                        {
                            self.answered.fetch_add(1, Ordering::Relaxed);
                        }
                        Ok(answer) => {
                            return self.failed(
                                "an answer",
                                format!("{} {}", answer.status, answer.text()),
                            );
                        }
                        Err(error) => return self.failed(&format!("client {number}"), error),
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
        }
        scope.spawn(move || {
            let mut socket = WebSocket::connect(web, "/socket").expect("a websocket");
            while self.goes_on() {
                let said = self.said.fetch_add(1, Ordering::Relaxed).to_string();
                match socket.ask(&said) {
                    Ok(answer) if answer == said => {}
                    Ok(answer) => {
                        return self.failed("the websocket", format!("{answer} for {said}"));
                    }
                    Err(error) => return self.failed("the websocket", error),
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        scope.spawn(move || {
            let mut client = Client::connect(web).expect("a connection");
            client
                .begin("GET", "/slow/long.txt", &[], b"")
                .expect("a request");
            assert_eq!(client.head().expect("a head").0, 200);
            let mut part = [0; 1024];
            while self.goes_on() {
                match client.stream.read(&mut part) {
                    Ok(0) => return self.failed("the stream", "it ended"),
                    Ok(read) => {
                        let at = self.streamed.fetch_add(read, Ordering::Relaxed);
                        let wanted = (at..at + read).map(|at| b"0123456789abcdef"[at % 16]);
                        if !wanted.eq(part[..read].iter().copied()) {
                            return self.failed("the stream", "other bytes");
                        }
                    }
                    Err(error) => return self.failed("the stream", error),
                }
            }
        });
    }
}

#[test]
fn two_hundred_reloads_under_load_lose_nothing() {
    let world = World::new();
    let gateway = Gateway::start(
        Some(&world.configuration(0)),
        &["--watch", "--workers", "2"],
    );
    let web = gateway.web();
    let load = Load::default();
    std::thread::scope(|scope| {
        load.start(web, scope);
        let mut asking = Client::connect(web).unwrap();
        eventually("a first health check", || {
            (health(&gateway) == "healthy").then_some(())
        });
        for turn in 1..=RELOADS {
            gateway.write_config(&world.configuration(turn));
            if turn.is_multiple_of(2) {
                gateway.signal(Signal::HUP);
            }
            eventually("the next configuration", || {
                let live = asking.get("/turn").expect("an answer").text();
                (live == turn.to_string()).then_some(())
            });
            if turn % 10 == 0 {
                assert_eq!(
                    health(&gateway),
                    "healthy",
                    "what is known of health is kept"
                );
                let open = get(world.extra, "/turn").is_ok();
                assert_eq!(
                    open,
                    turn.is_multiple_of(4),
                    "the listener `extra` in turn {turn}"
                );
            }
        }
        // The load goes on: the websocket and the stream pin no generation.
        eventually("old generations to go", || {
            (gateway.metric("portcullis_config_live_generations") == Some(1.0)).then_some(())
        });
        load.stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(*load.failures.lock().unwrap(), Vec::<String>::new());
    let [answered, said, streamed] =
        [&load.answered, &load.said, &load.streamed].map(|count| count.load(Ordering::Relaxed));
    assert!(
        answered > 1000 && said > 100 && streamed > 10_000,
        "{answered} {said} {streamed}"
    );
    for site in &world.sites {
        // One for each client and worker at most, and one for the stream.
        assert!(
            site.connections() <= 2 * CLIENTS + 1,
            "{}",
            site.connections()
        );
    }
    assert!(
        gateway.metric("portcullis_config_loads_total{outcome=\"applied\"}") > Some(RELOADS as f64)
    );
    assert_eq!(
        gateway.metric("portcullis_config_loads_total{outcome=\"rejected\"}"),
        Some(0.0)
    );
}

fn health(gateway: &Gateway) -> String {
    let page = gateway.json("/upstreams");
    let one = page
        .as_array()
        .and_then(|all| all.iter().find(|upstream| upstream["name"] == "one"));
    one.expect("the upstream")["endpoints"][0]["health"]
        .as_str()
        .expect("its health")
        .to_owned()
}

const SMALL: &str = "listeners: [{ name: web, bind: '127.0.0.1:0' }]\n\
                     routes: [{ name: all, filters: [{ type: respond, body: first }] }]\n";

#[test]
fn a_broken_file_changes_nothing_and_is_told_of_everywhere() {
    let gateway = Gateway::yaml(SMALL);
    let mut client = Client::connect(gateway.web()).unwrap();
    assert_eq!(client.get("/").unwrap().text(), "first");
    gateway.write_config(
        "listeners: [{ name: web, bind: nowhere }]\nroutes: [{ name: all, filers: [] }]\n",
    );
    gateway.signal(Signal::HUP);
    let rejected = "portcullis_config_loads_total{outcome=\"rejected\"}";
    eventually("the refusal", || {
        (gateway.metric(rejected) == Some(1.0)).then_some(())
    });
    assert_eq!(client.get("/").unwrap().text(), "first");
    assert_eq!(gateway.page("/readyz").status, 200);
    let page = gateway.json("/config");
    assert_eq!(page["generation"], 1);
    let problems = page["rejected"].as_array().unwrap();
    assert_eq!(problems.len(), 2, "{page}");
    assert_eq!(
        (&problems[0]["at"]["line"], &problems[0]["path"]),
        (&1.into(), &"listeners[0].bind".into())
    );
    assert!(
        problems[1]["hint"]
            .as_str()
            .is_some_and(|hint| hint.contains("filters")),
        "{page}"
    );
    let told = eventually("the refusal on stderr", || {
        Some(gateway.stderr()).filter(|text| text.contains("refused"))
    });
    for place in [
        "gateway.yaml:1:",
        "gateway.yaml:2:",
        "did you mean `filters`?",
    ] {
        assert!(told.contains(place), "{told}");
    }

    gateway.write_config(&SMALL.replace("first", "second"));
    gateway.signal(Signal::HUP);
    eventually("the repaired file", || {
        (client.get("/").unwrap().text() == "second").then_some(())
    });
    let page = gateway.json("/config");
    assert_eq!(
        (&page["generation"], &page["rejected"]),
        (&2.into(), &serde_json::json!([]))
    );
}

#[test]
fn an_address_that_is_taken_refuses_the_whole_configuration() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let gateway = Gateway::yaml(SMALL);
    let more = format!(
        "listeners: [{{ name: web, bind: '127.0.0.1:0' }}, {{ name: more, bind: '{}' }}]",
        taken.local_addr().unwrap()
    );
    gateway.write_config(
        &SMALL
            .replace("listeners: [{ name: web, bind: '127.0.0.1:0' }]", &more)
            .replace("first", "second"),
    );
    gateway.signal(Signal::HUP);
    eventually("the refusal", || {
        gateway.stderr().contains("refused").then_some(())
    });
    assert_eq!(get(gateway.web(), "/").unwrap().text(), "first");
    assert_eq!(
        gateway.json("/config")["rejected"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    drop(taken);
    gateway.signal(Signal::HUP);
    eventually("the configuration", || {
        (get(gateway.web(), "/").unwrap().text() == "second").then_some(())
    });
}

#[test]
fn a_listener_moves_and_its_clients_are_told() {
    let (first, second) = (free_address(), free_address());
    let at = |address: SocketAddr| SMALL.replace("127.0.0.1:0", &address.to_string());
    let gateway = Gateway::yaml(&at(first));
    let mut client = Client::connect(first).unwrap();
    client.get("/").unwrap();
    gateway.write_config(&at(second));
    gateway.signal(Signal::HUP);
    eventually("the new address", || get(second, "/").ok());
    assert!(
        client.closed(),
        "an idle connection to the old address is closed"
    );
    eventually("the old address to be free", || {
        get(first, "/").is_err().then_some(())
    });
    eventually("old generations to go", || {
        (gateway.metric("portcullis_config_live_generations") == Some(1.0)).then_some(())
    });
}

#[test]
fn certificates_named_by_a_later_configuration_are_watched_too() {
    let certificates = crate::support::Certificates::new();
    let (chain, key) = certificates.issue(&["shop.example"]);
    let gateway = Gateway::start(Some(SMALL), &["--watch"]);
    let secure = free_address();
    let pair = format!(
        "{{ cert: '{}', key: '{}' }}",
        chain.display(),
        key.display()
    );
    let more = format!(
        "listeners: [{{ name: secure, bind: '{secure}', tls: {{ certificates: [{pair}] }} }}, "
    );
    gateway.write_config(&SMALL.replace("listeners: [", &more));
    let (resolve, url) = (
        format!("shop.example:{}:127.0.0.1", secure.port()),
        format!("https://shop.example:{}/", secure.port()),
    );
    let trusts =
        |ca: &str| crate::support::curl(&["--cacert", ca, "--resolve", &resolve, &url]).ok();
    eventually("the listener", || {
        trusts(&certificates.authority().display().to_string())
    });
    let renewed = crate::support::Certificates::new();
    let (new_chain, new_key) = renewed.issue(&["shop.example"]);
    std::fs::copy(new_key, key).unwrap();
    std::fs::copy(new_chain, chain).unwrap();
    eventually("the new certificate", || {
        trusts(&renewed.authority().display().to_string())
    });
}
