//! Request targets, hosts and paths.

use http::Request;
use portcullis_tests::{H2Client, TestGateway, Upstream, listener};

async fn mirror() -> TestGateway {
    TestGateway::to(Upstream::mirror().await).await
}

fn first_line(reply: &portcullis_tests::Message) -> String {
    reply.text().lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn absolute_form_becomes_origin_form_with_its_host() {
    let gateway = mirror().await;
    let reply = gateway
        .ask("GET http://Shop.test:81/a?b=c HTTP/1.1\r\nhost: Shop.test:81\r\n\r\n")
        .await;
    assert_eq!(first_line(&reply), "GET /a?b=c HTTP/1.1");
    assert!(
        reply
            .text()
            .to_lowercase()
            .contains("\nhost: shop.test:81\n"),
        "{}",
        reply.text()
    );
    let reply = gateway.ask("GET http://shop.test HTTP/1.0\r\n\r\n").await;
    assert_eq!(first_line(&reply), "GET / HTTP/1.1");
    assert!(
        reply.text().contains("\nhost: shop.test\n"),
        "{}",
        reply.text()
    );
}

#[tokio::test]
async fn an_absolute_target_without_path_gets_one() {
    let gateway = mirror().await;
    for (target, forwarded) in [
        ("http://test", "/"),
        ("http://test?a=b", "/?a=b"),
        ("http://test?", "/?"),
        ("http://test/?a", "/?a"),
    ] {
        let reply = gateway
            .ask(format!("GET {target} HTTP/1.1\r\nhost: test\r\n\r\n"))
            .await;
        assert_eq!(
            first_line(&reply),
            format!("GET {forwarded} HTTP/1.1"),
            "{target}"
        );
    }
}

#[tokio::test]
async fn a_star_is_for_options_alone() {
    let gateway = mirror().await;
    let reply = gateway.ask("GET * HTTP/1.1\r\nhost: test\r\n\r\n").await;
    assert_eq!(reply.status(), 400);
    assert_eq!(gateway.ended().await.reason, "target_form");
    let client = H2Client::connect(gateway.addr()).await;
    for (method, status) in [("OPTIONS", 200), ("GET", 400)] {
        let target = http::Uri::builder()
            .scheme("http")
            .authority("test")
            .path_and_query("*")
            .build()
            .unwrap();
        let request = Request::builder().method(method).uri(target);
        let reply = client.ask(request.body("").unwrap()).await;
        assert_eq!(reply.status(), status, "{method}");
    }
    assert_eq!(gateway.ended().await.status, 200);
    assert_eq!(gateway.ended().await.reason, "target_form");
}

#[tokio::test]
async fn options_star_goes_through() {
    let gateway = mirror().await;
    let reply = gateway
        .ask("OPTIONS * HTTP/1.1\r\nhost: test\r\n\r\n")
        .await;
    assert_eq!(first_line(&reply), "OPTIONS * HTTP/1.1");
}

#[tokio::test]
async fn connect_is_refused() {
    let gateway = mirror().await;
    let mut client = gateway.client().await;
    let reply = client
        .ask("CONNECT a.test:443 HTTP/1.1\r\nhost: a.test:443\r\n\r\n")
        .await;
    assert_eq!(reply.status(), 405);
    assert_eq!(gateway.ended().await.reason, "connect_refused");

    let client = H2Client::connect(gateway.addr()).await;
    let request = Request::builder()
        .method("CONNECT")
        .uri("a.test:443")
        .body("")
        .unwrap();
    assert_eq!(client.ask(request).await.status(), 405);
}

#[tokio::test]
async fn a_path_is_forwarded_as_it_was_matched() {
    let upstream = Upstream::mirror().await;
    let gateway = TestGateway::start(format!(
        "{}routes:\n\
         - {{ name: admin, match: {{ path: {{ prefix: /admin }} }}, filters: [{{ type: respond, status: 403 }}] }}\n\
         - {{ name: rest, backends: [{{ upstream: up }}] }}\n\
         upstreams: [{{ name: up, endpoints: [\"{upstream}\"] }}]\n",
        listener("")
    ))
    .await;
    for path in [
        "/admin",
        "/x/../admin/y",
        "/%61dmin",
        "/./admin",
        "/x/%2e%2E/admin",
        "/admin/.",
        "/../admin",
    ] {
        assert_eq!(gateway.get(path).await.status(), 403, "{path}");
    }
    for (sent, forwarded) in [
        ("/a%2fb", "/a%2Fb"),
        ("/a%2Fb/../c", "/c"),
        ("/a/./b/../c?x=/../y", "/a/c?x=/../y"),
        ("/%7Euser", "/~user"),
        ("//a", "//a"),
        ("/administrator", "/administrator"),
        ("/x%2Fadmin", "/x%2Fadmin"),
        ("/?", "/?"),
        ("/a;b=1", "/a;b=1"),
    ] {
        let reply = gateway.get(sent).await;
        assert_eq!(
            first_line(&reply),
            format!("GET {forwarded} HTTP/1.1"),
            "{sent}"
        );
    }
}

#[tokio::test]
async fn the_log_has_the_path_as_it_was_sent_and_no_query() {
    let gateway = mirror().await;
    for (target, path) in [
        ("/a/./b/../%7Ec?token=secret", "/a/./b/../%7Ec"),
        ("http://test/x%2fy?token=secret", "/x%2fy"),
        ("//a//", "//a//"),
    ] {
        gateway.get(target).await;
        assert_eq!(gateway.ended().await.path, path, "{target}");
    }
}

#[tokio::test]
async fn slashes_are_merged_where_that_is_asked_for() {
    let upstream = Upstream::mirror().await;
    let yaml = portcullis_tests::route_to(upstream, "", "")
        .replace(&listener(""), &listener("merge_slashes: true"));
    let gateway = TestGateway::start(yaml).await;
    assert_eq!(
        first_line(&gateway.get("//a///b//").await),
        "GET /a/b/ HTTP/1.1"
    );
}

#[tokio::test]
async fn an_http2_authority_becomes_host() {
    let gateway = mirror().await;
    let client = H2Client::connect(gateway.addr()).await;
    let reply = client
        .ask(
            Request::get("http://Shop.test:8080/a%2fb?c")
                .body("")
                .unwrap(),
        )
        .await;
    let text = String::from_utf8(reply.body).unwrap();
    assert!(text.starts_with("GET /a%2Fb?c HTTP/1.1\n"), "{text}");
    assert!(
        text.to_lowercase().contains("\nhost: shop.test:8080\n"),
        "{text}"
    );
    let request = Request::get("http://a.test/")
        .header("host", "b.test")
        .body("")
        .unwrap();
    assert_eq!(client.ask(request).await.status(), 400);
}

#[tokio::test]
async fn unknown_methods_pass() {
    let gateway = mirror().await;
    let reply = gateway.ask("PURGE /a HTTP/1.1\r\nhost: test\r\n\r\n").await;
    assert_eq!(first_line(&reply), "PURGE /a HTTP/1.1");
}
