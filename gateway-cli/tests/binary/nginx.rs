//! nginx as the upstream: HTTP/1.1 with keep-alive, TLS, HTTP/2.

use crate::support::{
    Certificates, Client, Gateway, Nginx, Site, curl, eventually, free_port, get,
};

fn in_front_of(nginx: &Nginx, more: &str) -> Gateway {
    Gateway::yaml(&format!(
        "listeners: [{{ name: web, bind: '127.0.0.1:0' }}]\n\
         routes: [{{ name: all, backends: [{{ upstream: site }}] }}]\n\
         upstreams: [{{ name: site, endpoints: ['{}']{more} }}]\n\
         access_log: {{ path: stdout }}\n",
        nginx.address()
    ))
}

#[test]
fn what_nginx_answers_is_what_clients_get() {
    let nginx = Nginx::start(&Site::default());
    let page = "portcullis ".repeat(100);
    nginx.publish("page.txt", page.as_bytes());
    let gateway = in_front_of(&nginx, "");
    let mut client = Client::connect(gateway.web()).unwrap();

    let whole = client.get("/page.txt").unwrap();
    assert_eq!((whole.status, whole.text()), (200, page.clone()));
    assert_eq!(
        whole.header("content-length"),
        Some(&*page.len().to_string())
    );
    let tag = whole.header("etag").expect("an etag").to_owned();

    let head = client.send("HEAD", "/page.txt", &[], b"").unwrap();
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(
        head.header("content-length"),
        Some(&*page.len().to_string())
    );

    let same = client
        .send("GET", "/page.txt", &[("if-none-match", &tag)], b"")
        .unwrap();
    assert_eq!((same.status, same.body.len()), (304, 0));

    let part = client
        .send("GET", "/page.txt", &[("range", "bytes=3-8")], b"")
        .unwrap();
    assert_eq!((part.status, part.text()), (206, page[3..9].to_owned()));

    let packed = client
        .send("GET", "/page.txt", &[("accept-encoding", "gzip")], b"")
        .unwrap();
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    assert_eq!(packed.header("transfer-encoding"), Some("chunked"));
    assert!(packed.body.starts_with(&[0x1f, 0x8b]));

    for (path, status) in [
        ("/teapot", 418),
        ("/empty", 204),
        ("/nothing.txt", 404),
        ("/moved", 301),
    ] {
        assert_eq!(client.get(path).unwrap().status, status, "{path}");
    }
    let posted = client
        .send("POST", "/upload", &[], &vec![b'x'; 1 << 20])
        .unwrap();
    assert_eq!(posted.status, 200);
    assert_eq!(posted.text(), "1048576\n");
    assert_eq!(
        client.get("/who").unwrap().status,
        200,
        "the connection is still in use"
    );
}

#[test]
fn fields_of_the_connection_stay_on_it_and_forged_ones_are_dropped() {
    let nginx = Nginx::start(&Site::default());
    let gateway = in_front_of(&nginx, "");
    let mut client = Client::connect(gateway.web()).unwrap();
    let fields = [
        ("host", "shop.example"),
        ("connection", "keep-alive, x-forged"),
        ("x-forged", "1"),
        ("x-forwarded-for", "6.6.6.6"),
    ];
    let seen = client
        .send("GET", "/head/a%2Fb/../c?x=1", &fields, b"")
        .unwrap()
        .text();
    assert!(seen.contains("GET /head/c?x=1\n"), "{seen}");
    assert!(seen.contains("host=shop.example\n"), "{seen}");
    assert!(seen.contains("for=127.0.0.1\n"), "{seen}");
    assert!(seen.contains("forged=\n"), "{seen}");
}

#[test]
fn a_thousand_requests_need_few_upstream_connections() {
    let nginx = Nginx::start(&Site::default());
    let gateway = in_front_of(&nginx, "");
    let mut client = Client::connect(gateway.web()).unwrap();
    for _ in 0..1000 {
        assert_eq!(client.get("/who").unwrap().status, 200);
    }
    assert_eq!(nginx.connections(), 1);
    let page = gateway.json("/upstreams");
    assert_eq!(page[0]["connections"]["open"], 1);
}

#[test]
fn large_bodies_pass_in_constant_memory() {
    let nginx = Nginx::start(&Site::default());
    let large: Vec<u8> = (0..48_u32 << 20).map(|at| (at % 251) as u8).collect();
    nginx.publish("large.bin", &large);
    let gateway = in_front_of(&nginx, "");
    let mut client = Client::connect(gateway.web()).unwrap();
    client.get("/who").unwrap();
    let before = gateway.peak_memory();
    assert!(client.get("/large.bin").unwrap().body == large);
    assert_eq!(
        client.send("POST", "/upload", &[], &large).unwrap().status,
        200
    );
    let grown = gateway.peak_memory() - before;
    assert!(grown < 16 << 10, "the gateway grew by {grown} KiB");
}

#[test]
fn an_answer_that_does_not_wait_for_the_body_reaches_the_client() {
    let nginx = Nginx::start(&Site::default());
    let gateway = in_front_of(&nginx, "");
    let file = gateway.folder().join("body");
    std::fs::write(&file, vec![b'x'; 8 << 20]).unwrap();
    let body = format!("@{}", file.display());
    for _ in 0..10 {
        let url = format!("http://{}/hasty", gateway.web());
        let answer = curl(&[
            "-H",
            "expect:",
            "--data-binary",
            &body,
            "-w",
            "%{http_code}",
            &url,
        ])
        .unwrap();
        assert_eq!(answer, "too much\n413");
    }
    assert_eq!(get(gateway.web(), "/who").unwrap().status, 200);
}

#[test]
fn tls_to_nginx_is_verified_and_names_the_server() {
    let certificates = Certificates::new();
    let nginx = Nginx::start(&Site {
        tls: Some(certificates.issue(&["site.internal"])),
        ..Site::default()
    });
    let ca = certificates.authority();
    let trusted = format!(
        ", tls: {{ ca: '{}', server_name: site.internal }}",
        ca.display()
    );
    let gateway = in_front_of(&nginx, &trusted);
    let answer = get(gateway.web(), "/head/x").unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(
        answer.text().contains("sni=site.internal\n"),
        "{}",
        answer.text()
    );

    let stranger = Certificates::new();
    let other_ca = format!(
        ", tls: {{ ca: '{}', server_name: site.internal }}",
        stranger.authority().display()
    );
    let other_name = format!(
        ", tls: {{ ca: '{}', server_name: other.internal }}",
        ca.display()
    );
    for wrong in [other_ca, other_name] {
        let gateway = in_front_of(&nginx, &wrong);
        assert_eq!(get(gateway.web(), "/head/refused").unwrap().status, 502);
        let line = gateway.logged("/head/refused");
        assert!(
            line["reason"].as_str().unwrap_or_default().contains("tls"),
            "{line}"
        );
    }
}

#[test]
fn a_client_certificate_opens_nginx() {
    let certificates = Certificates::new();
    let nginx = Nginx::start(&Site {
        tls: Some(certificates.issue(&["site.internal"])),
        clients: Some(certificates.authority()),
        ..Site::default()
    });
    let (chain, key) = certificates.issue(&["gateway.internal"]);
    let with = format!(
        ", tls: {{ ca: '{}', server_name: site.internal, cert: '{}', key: '{}' }}",
        certificates.authority().display(),
        chain.display(),
        key.display()
    );
    let gateway = in_front_of(&nginx, &with);
    let answer = get(gateway.web(), "/head/x").unwrap();
    assert!(
        answer.text().contains("client=CN=gateway.internal"),
        "{}",
        answer.text()
    );
}

#[test]
fn nginx_is_spoken_to_in_http2_with_and_without_tls() {
    let certificates = Certificates::new();
    let plain = Site {
        http2: true,
        ..Site::default()
    };
    let secure = Site {
        http2: true,
        tls: Some(certificates.issue(&["site.internal"])),
        ..Site::default()
    };
    let tls = format!(
        "tls: {{ ca: '{}', server_name: site.internal }}",
        certificates.authority().display()
    );
    // With TLS `auto` means what both sides can do, by ALPN.
    for (site, more) in [
        (plain, ", protocol: http2".to_owned()),
        (secure, format!(", {tls}")),
    ] {
        let nginx = Nginx::start(&site);
        nginx.publish("page.txt", &[b'y'; 300_000]);
        let gateway = in_front_of(&nginx, &more);
        let mut client = Client::connect(gateway.web()).unwrap();
        for _ in 0..20 {
            assert_eq!(client.get("/page.txt").unwrap().body.len(), 300_000);
        }
        assert_eq!(
            client
                .send("POST", "/upload", &[], &vec![b'x'; 3 << 20])
                .unwrap()
                .status,
            200
        );
        let log = eventually("nginx to log all", || {
            Some(nginx.log()).filter(|log| log.len() == 21)
        });
        assert!(
            log.iter().all(|line| line.contains(" HTTP/2.0 200 ")),
            "{log:?}"
        );
        assert_eq!(nginx.connections(), 1);
    }
}

#[test]
fn an_upstream_that_is_down_is_a_502_with_a_reason_and_comes_back() {
    let port = free_port();
    let gateway = Gateway::yaml(&format!(
        "listeners: [{{ name: web, bind: '127.0.0.1:0' }}]\n\
         routes: [{{ name: all, backends: [{{ upstream: site }}] }}]\n\
         upstreams: [{{ name: site, endpoints: ['127.0.0.1:{port}'] }}]\n\
         access_log: {{ path: stdout }}\n"
    ));
    let mut client = Client::connect(gateway.web()).unwrap();
    let refused = client.get("/down").unwrap();
    assert_eq!(refused.status, 502);
    let line = gateway.logged("/down");
    assert_eq!(line["status"], 502);
    assert_eq!(line["upstream"], "site");
    assert!(
        line["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("connect")),
        "{line}"
    );

    let nginx = Nginx::start(&Site {
        port: Some(port),
        ..Site::default()
    });
    assert_eq!(client.get("/who").unwrap().status, 200);
    drop(nginx);
    // The pooled connection is stale now: noticed before anything is lost.
    assert_eq!(client.get("/who").unwrap().status, 502);
    let _nginx = Nginx::start(&Site {
        port: Some(port),
        ..Site::default()
    });
    assert_eq!(client.get("/who").unwrap().status, 200);
}
