use crate::config::{Format, lower_rest, read_text};

/// What reading and lowering report of a YAML text, by place.
fn told(text: &str) -> String {
    let reading = read_text("g.yaml", text, Format::Yaml);
    let mut problems = reading.problems;
    lower_rest(&reading.config, &reading.damage, &mut problems);
    problems.to_string()
}

/// Every text with all that is to be said of it, hints left out.
fn check(cases: &[(&str, &[&str])]) {
    for (text, expected) in cases {
        let told = told(text);
        let told: Vec<_> = told
            .lines()
            .filter(|line| !line.starts_with("  hint: "))
            .map(|line| line.trim_start_matches("g.yaml:"))
            .collect();
        assert_eq!(told, *expected, "{text}");
    }
}

const REST: &str = "\nlisteners: [{ name: web, bind: ':80' }]\nupstreams: [{ name: u, endpoints: ['10.0.0.1:80'] }]\n";

#[test]
fn both_kinds_of_mistakes_are_told() {
    check(&[(
        "routes: [{ name: r, timeouts: { total: 5x }, match: { hosts: [a..b] }, backends: [{ upstream: v }] }, { name: r }]\n\
         upstreams: [{ name: u, endpoints: 5, timeouts: { connect: 0s } }]\n",
        &[
            "1:40: error: expected a duration such as 5s, found the string \"5x\" (at routes[0].timeouts.total)",
            "1:63: error: the host `a..b` has an empty label (at routes[0].match.hosts[0])",
            "1:95: error: no upstream is called `v` (at routes[0].backends[0].upstream)",
            "1:103: error: the route `r` has no backend, and no filter that could answer (at routes[1])",
            "1:111: error: another route is called `r` (at routes[1].name)",
            "2:35: error: expected a list, found the number 5 (at upstreams[0].endpoints)",
            "2:59: error: expected more than 0s (at upstreams[0].timeouts.connect)",
        ],
    )]);
}

#[test]
fn what_refers_to_something_unreadable_is_not_blamed() {
    let route = "routes: [{ name: r, listeners: [web], backends: [{ upstream: u }] }]\nlisteners: [{ name: web, bind: ':80' }]\n";
    let wrong_listener = "upstreams: [{ name: u, endpoints: ['10.0.0.1:80'] }]\nroutes: [{ name: r, listeners: [web], backends: [{ upstream: u }] }]\n";
    for (rest, text, told) in [
        (
            route,
            "upstreams: 5",
            "expected a list, found the number 5 (at upstreams)",
        ),
        (
            route,
            "upstreams: [u]",
            "expected a mapping, found the string \"u\" (at upstreams[0])",
        ),
        (
            route,
            "upstreams: [{ name: 5, endpoints: ['a:1'] }]",
            "expected a string, found the number 5 (at upstreams[0].name)",
        ),
        (
            route,
            "upstreams: [{ endpoints: ['a:1'] }]",
            "missing key `name` (at upstreams[0])",
        ),
        (
            route,
            "upstreams: [{ name: w, name: u, endpoints: ['a:1'] }]",
            "duplicate key `name`",
        ),
        (route, "upstreams: [*u]", "no anchor `&u` before this alias"),
        (
            route,
            "upstreams: []\nupstreams: [{ name: u }]",
            "duplicate key `upstreams`",
        ),
        (
            route,
            "upsteams: [{ name: u, endpoints: ['a:1'] }]",
            "unknown key `upsteams` (at upsteams)",
        ),
        (
            route,
            "upsteams: { name: u }",
            "unknown key `upsteams` (at upsteams)",
        ),
        (
            route,
            "---\n{ nothing: known }",
            "no known kind of configuration has the keys `nothing` at its top",
        ),
        (
            wrong_listener,
            "listeners: [{ name: 5, bind: ':80' }]",
            "expected a string, found the number 5 (at listeners[0].name)",
        ),
        (
            wrong_listener,
            "listeners: [{ name: web, bind: nowhere }]",
            "expected an address to listen on such as 0.0.0.0:8443, [::]:80, :8080 or unix:/run/gateway.sock, found the string \"nowhere\" (at listeners[0].bind)",
        ),
    ] {
        let all = super::tests::told(&format!("{rest}{text}\n"));
        let errors: Vec<_> = all
            .lines()
            .filter(|line| line.contains("error: "))
            .collect();
        assert_eq!(errors.len(), 1, "{text}: {all}");
        assert!(errors[0].ends_with(told), "{text}: {all}");
        assert!(!all.contains("warning: "), "{text}: {all}");
    }
}

#[test]
fn an_unreadable_part_is_not_said_to_be_missing() {
    let only = |part: &str, expected: &str| {
        let text = format!("{part}{REST}");
        let told = told(&text);
        let told = told.lines().filter(|line| !line.starts_with("  hint: "));
        let told: Vec<_> = told.collect();
        assert!(
            told.len() == 1 && told[0].contains(expected),
            "{text}: {told:#?}"
        );
    };
    for route in [
        "backends: 5",
        "backends: [5]",
        "backend: 5",
        "filters: [5]",
        "filters: [{}]",
        "filers: []",
        "backends: [{ upstream: 5 }]",
        "backends: [{ upstream: u, weight: 0 }, 5]",
        "backends: [{ upstream: u }], timeouts: { total: 1s, per_try: 2x }",
        "backends: [{ upstream: u }], match: { path: { exact: 5 } }",
        "backends: [{ upstream: u }], listeners: [5]",
        "backends: [{ upstream: u }], listeners: [web2]",
    ] {
        only(&format!("routes: [{{ name: r, {route} }}]"), "error: ");
    }
}

#[test]
fn settings_that_lack_their_partner_because_it_is_unreadable_are_not_blamed() {
    let tls = |tls: &str| {
        format!(
            "listeners: [{{ name: web, bind: ':80', tls: {{ {tls} }} }}]\nroutes: [{{ name: r, filters: [{{ type: x }}] }}]\n"
        )
    };
    let upstream = |rest: &str| {
        format!(
            "listeners: [{{ name: web, bind: ':80' }}]\nroutes: [{{ name: r, filters: [{{ type: x }}] }}]\nupstreams: [{{ name: u, {rest} }}]\n"
        )
    };
    for text in [
        tls("certificates: 5"),
        tls("certificates: [5]"),
        tls("certificate: 5"),
        tls("client_auth: { ca: 5 }, certificates: [{ cert: a, key: b }]"),
        tls("client_auth: { mode: of }, certificates: [{ cert: a, key: b }]"),
        tls("certificates: [{ cert: 5, key: b }]"),
        tls("certificates: [{ cert: a }]"),
        "listeners: [{ name: web, bind: '127.0.0.1:9900' }]\nroutes: [{ name: r, filters: [{ type: x }] }]\nadmin: { bind: 5 }\n".to_owned(),
        upstream("endpoints: 5"),
        upstream("discovery: dns"),
        upstream("endpoints: [{ address: 5 }]"),
        upstream("endpoints: ['a:1'], tls: { cert: 5, key: a }"),
        upstream("endpoints: ['a:1'], tls: { cert: a, kye: 5 }"),
        upstream("endpoints: ['a:1'], hash: path, balance: maglev"),
        upstream("endpoints: ['a:1'], health: { active: { expect: [x] } }"),
        format!("tracing: {{ otlp: {{ endpoint: 5 }} }}\n{}", upstream("endpoints: ['a:1']")),
    ] {
        let told = told(&text);
        let problems = told.lines().filter(|line| !line.starts_with("  hint: "));
        // A build without that feature warns of it too.
        let problems = problems.filter(|line| !line.contains("cannot send spans"));
        assert_eq!(problems.count(), 1, "{text}: {told}");
    }
}

#[test]
fn one_mistake_does_not_hide_another_of_the_same_object() {
    check(&[
        (
            "listeners: [{ bind: nowhere, limits: { max_head_bytes: 1 } }, { name: a, bind: ':1', protocol: x, tls: { certificates: [{ cert: 5, key: '' }] } }, { name: b, bind: ':1' }]\nroutes: [{ name: r, filters: [{ type: x }] }]\n",
            &[
                "1:13: error: missing key `name` (at listeners[0])",
                "1:21: error: expected an address to listen on such as 0.0.0.0:8443, [::]:80, :8080 or unix:/run/gateway.sock, found the string \"nowhere\" (at listeners[0].bind)",
                "1:56: error: expected at least 1KiB, found 1 (at listeners[0].limits.max_head_bytes)",
                "1:96: error: expected one of auto, http1, http2, tcp, udp, found the string \"x\" (at listeners[1].protocol)",
                "1:129: error: expected a string, found the number 5 (at listeners[1].tls.certificates[0].cert)",
                "1:137: error: expected the path of a PEM file, or PEM text, found nothing (at listeners[1].tls.certificates[0].key)",
                "1:165: error: the listener `a` listens on [::]:1 too (at listeners[2].bind)",
            ],
        ),
        (
            "routes: [{ nonsense: 1, timeouts: { total: x } }]\n",
            &[
                "1:10: error: missing key `name` (at routes[0])",
                "1:10: error: this route has no backend, and no filter that could answer (at routes[0])",
                "1:12: error: unknown key `nonsense` (at routes[0].nonsense)",
                "1:44: error: expected a duration such as 5s, found the string \"x\" (at routes[0].timeouts.total)",
            ],
        ),
    ]);
}

#[test]
fn a_misspelt_key_is_read_as_the_one_that_was_meant() {
    check(&[
        (
            "routs: [{ nme: a, filter: [{ type: x }], retry: { onn: [never] } }, { name: a, filters: [{ type: x }] }]\n",
            &[
                "1:1: error: unknown key `routs` (at routs)",
                "1:11: error: unknown key `nme` (at routs[0].nme)",
                "1:19: error: unknown key `filter` (at routs[0].filter)",
                "1:51: error: unknown key `onn` (at routs[0].retry.onn)",
                "1:57: error: no retry condition is called `never` (at routs[0].retry.onn[0])",
                "1:77: error: another route is called `a` (at routs[1].name)",
            ],
        ),
        (
            // What stands there does not fit the guess, which is told once and then forgotten.
            "routes: [{ name: a, filter: { type: x }, timeout: 5s, matches: { nothing: 1 }, rety: { attempts: x } }]\n",
            &[
                "1:21: error: unknown key `filter` (at routes[0].filter)",
                "1:42: error: unknown key `timeout` (at routes[0].timeout)",
                "1:55: error: unknown key `matches` (at routes[0].matches)",
                "1:80: error: unknown key `rety` (at routes[0].rety)",
                "1:98: error: expected a whole number from 0 to 4294967295, found the string \"x\" (at routes[0].rety.attempts)",
            ],
        ),
        (
            // The same where the type is known to be strict.
            "routes: [{ name: a, match: { xyz: 1 }, filters: [{ type: x }] }, { name: b, matches: { nothing: 1 }, filters: [{ type: x }] }]\n",
            &[
                "1:30: error: unknown key `xyz` (at routes[0].match.xyz)",
                "1:77: error: unknown key `matches` (at routes[1].matches)",
            ],
        ),
        (
            // The key that was meant is there already, and so is a guess at it.
            "routes: [{ name: a, filters: [{ type: x }], filter: 5, filers: 6 }]\n",
            &[
                "1:45: error: unknown key `filter` (at routes[0].filter)",
                "1:56: error: unknown key `filers` (at routes[0].filers)",
            ],
        ),
        (
            "acess_log: { formt: xml, path: stdout }\nmetics: 5\n",
            &[
                "1:1: error: unknown key `acess_log` (at acess_log)",
                "1:14: error: unknown key `formt` (at acess_log.formt)",
                "2:1: error: unknown key `metics` (at metics)",
            ],
        ),
    ]);
}

#[test]
fn an_object_without_a_name_is_called_by_what_it_is() {
    let told = told(&format!(
        "listeners: [{{ bind: ':80' }}, {{ name: b, bind: ':80', handler: {{ type: x }}, filters: [{{ type: y }}] }}]\nupstreams: [{{}}]{}",
        "\nroutes: [{ name: r, filters: [{ type: x }] }]\n"
    ));
    for expected in [
        "another listener listens on [::]:80 too",
        "this upstream has neither endpoints nor a discovery",
        "the listener `b` has a connection handler and filters",
    ] {
        assert!(told.contains(expected), "{told}");
    }
    assert!(!told.contains("``"), "{told}");
}

#[test]
fn a_mistake_in_a_long_list_is_no_more_work_than_one_in_a_short_list() {
    // With work for each that grows with the list, this takes minutes.
    const MANY: usize = 150_000;
    let hosts = "a..b, ".repeat(MANY);
    let text = format!(
        "routes: [{{ name: r, match: {{ hosts: [{hosts}] }}, backends: [{{ upstream: u }}] }}]{REST}"
    );
    let reading = read_text("g.yaml", &text, Format::Yaml);
    let mut problems = reading.problems;
    lower_rest(&reading.config, &reading.damage, &mut problems);
    let mut paths = problems.iter().map(|problem| problem.path.as_str());
    let last = format!("routes[0].match.hosts[{}]", MANY - 1);
    assert_eq!(problems.len(), MANY, "{:?}", problems.iter().next());
    assert_eq!(paths.next_back(), Some(last.as_str()));
}

#[test]
fn an_alias_of_many_mistakes_is_no_more_work_than_they_are() {
    const MANY: usize = 150_000;
    let nothing = "*x, ".repeat(MANY);
    let reading = read_text(
        "g.yaml",
        &format!("routes: &a [{nothing}]\nlisteners: *a\n"),
        Format::Yaml,
    );
    // What was copied is known to be wrong too, and nothing is said of it twice.
    assert!(reading.damage.is_short("listeners") && reading.damage.is_short("routes"));
    assert_eq!(reading.problems.len(), 100);
}
