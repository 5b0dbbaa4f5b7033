//! The commands that do not serve, the flags of the one that does, and exit codes.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Client, Gateway, eventually, get, python, run};

const EXAMPLE: &str = include_str!("example.json");
/// Each of these mistakes is found by the first look at the shape.
const MISSHAPEN: &str = "listeners: [{ name: web, bind: nowhere }]\n\
                         routes:\n\
                         - { name: all, timeouts: { total: 5x }, backends: [{ upstream: one, wieght: 3 }] }\n\
                         upstreams: [{ name: one, endpoints: ['127.0.0.1:99999'] }]\n";
/// Well-shaped, but nothing of it makes sense.
const SENSELESS: &str = "listeners: [{ name: web, bind: '127.0.0.1:0', filters: [{ type: hedaers }] }]\n\
                         routes:\n\
                         - { name: all, backends: [{ upstream: tow }] }\n\
                         - { name: all, match: { path: { regex: '/(' } }, backends: [{ upstream: two }] }\n\
                         upstreams: [{ name: two, endpoints: ['127.0.0.1:1'], balance: { type: p3c } }]\n";

fn written(name: &str, text: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(name);
    std::fs::write(&file, text).unwrap();
    (folder, file)
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

fn on(command: &[&str], file: &Path) -> Output {
    run(command
        .iter()
        .map(|arg| arg.as_ref())
        .chain(["-c".as_ref(), file.as_os_str()]))
}

#[test]
fn a_bad_configuration_is_exit_code_1_with_every_problem_and_its_place() {
    let cases: [(&str, &[&str]); 2] = [
        (
            MISSHAPEN,
            &[
                "gateway.yaml:1:32: error: ",
                "gateway.yaml:3:35: error: ",
                "gateway.yaml:3:69: error: unknown key `wieght`",
                "did you mean `weight`?",
                "gateway.yaml:4:38: error: ",
            ],
        ),
        (
            SENSELESS,
            &[
                "gateway.yaml:1:65: error: ",
                "did you mean `headers`?",
                "gateway.yaml:3:39: error: ",
                "did you mean `two`?",
                "gateway.yaml:4:11: error: ",
                "gateway.yaml:4:31: error: ",
                "gateway.yaml:5:71: error: ",
                "did you mean `p2c`?",
            ],
        ),
    ];
    for (text, places) in cases {
        let (_folder, file) = written("gateway.yaml", text);
        for command in [
            &["check"] as &[&str],
            &["run"],
            &[],
            &["explain", "GET", "http://x/"],
        ] {
            let output = on(command, &file);
            let (out, err) = texts(&output);
            assert_eq!(output.status.code(), Some(1), "{command:?}: {err}");
            assert_eq!(out, "");
            for place in places {
                assert!(err.contains(place), "{command:?} says {place}:\n{err}");
            }
        }
        let output = on(&["check", "--json"], &file);
        let problems: Value = serde_json::from_slice(&output.stdout).unwrap();
        let errors = problems
            .as_array()
            .unwrap()
            .iter()
            .filter(|problem| problem["severity"] == "error");
        assert!(errors.clone().count() >= 4, "{problems:#}");
        assert!(
            errors
                .clone()
                .all(|problem| problem["at"]["line"].is_u64() && problem["path"].is_string()),
            "{problems:#}"
        );
    }
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let output = run([
        "check",
        "-c",
        "/does/not/exist.yaml",
        "-c",
        "/nor/this.yaml",
    ]);
    let (_, err) = texts(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        err.contains("/does/not/exist.yaml") && err.contains("/nor/this.yaml"),
        "{err}"
    );
    for (name, text) in [
        ("a.yaml", "listeners: [\n"),
        ("a.json", "{ \"listeners\": [}"),
        ("a.toml", "listeners = [\n"),
        ("b.yaml", "\u{0}\u{1}"),
        ("c.yaml", "just text"),
        ("d.yaml", "listeners: &a [*a]"),
    ] {
        let (_folder, file) = written(name, text);
        let (_, err) = texts(&on(&["check"], &file));
        assert!(
            err.contains(&format!("{name}:1:")) || err.contains(&format!("{name}:2:")),
            "{name}: {err}"
        );
    }
}

#[test]
fn wrong_usage_is_exit_code_2() {
    let (_folder, file) = written("gateway.json", EXAMPLE);
    let file = file.to_str().unwrap();
    for args in [
        &["fly"] as &[&str],
        &["--fly"],
        &["run", "--workers", "0"],
        &["run", "--listen", "web"],
        &["run", "--admin", "somewhere"],
        &["check"],
        &["convert", "-c", file, "--to", "latin"],
        &["explain", "-c", file, "GET"],
        &["explain", "-c", file, "G T", "http://x/"],
        &["explain", "-c", file, "GET", "http://x/", "-H", "no colon"],
        &[
            "explain",
            "-c",
            file,
            "GET",
            "http://x/",
            "--peer",
            "someone",
        ],
        &["stack", "--mode", "none"],
    ] {
        let output = run(args);
        let (out, err) = texts(&output);
        assert_eq!(
            (output.status.code(), &*out),
            (Some(2), ""),
            "{args:?}: {err}"
        );
        assert!(!err.is_empty(), "{args:?}");
    }
}

#[test]
fn an_address_that_cannot_be_bound_is_exit_code_3_and_every_one_is_named() {
    let taken = ["web", "more"].map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let [web, more] = taken
        .each_ref()
        .map(|socket| socket.local_addr().unwrap().to_string());
    let text =
        format!("listeners: [{{ name: web, bind: '{web}' }}, {{ name: more, bind: '{more}' }}]");
    let (_folder, file) = written("gateway.yaml", &text);
    let output = on(&["run", "--admin", "off"], &file);
    let (_, err) = texts(&output);
    assert_eq!(output.status.code(), Some(3), "{err}");
    assert!(err.contains(&web) && err.contains(&more), "{err}");
    let (_folder, file) = written(
        "gateway.yaml",
        "listeners: [{ name: web, bind: '127.0.0.1:0' }]",
    );
    let output = on(&["run", "--admin", &more], &file);
    let (_, err) = texts(&output);
    assert_eq!(output.status.code(), Some(3), "{err}");
    assert!(err.contains(&more), "{err}");
}

#[test]
fn a_valid_configuration_passes_the_check_in_every_format() {
    let toml = "[[listeners]]\nname = \"web\"\nbind = \"127.0.0.1:0\"\n\n\
                [[routes]]\nname = \"all\"\nfilters = [{ type = \"respond\", body = \"toml\" }]\n";
    let json = r#"{ "listeners": [{ "name": "web", "bind": "127.0.0.1:0" }],
                    "routes": [{ "name": "all", "filters": [{ "type": "respond", "body": "json" }] }] }"#;
    for (name, text) in [
        ("gateway.toml", toml),
        ("gateway.json", json),
        ("example.json", EXAMPLE),
    ] {
        let (_folder, file) = written(name, text);
        let output = on(&["check"], &file);
        assert_eq!(output.status.code(), Some(0), "{:?}", texts(&output));
    }
    for (name, text, says) in [
        ("gateway.toml", toml, "toml"),
        ("gateway.json", json, "json"),
    ] {
        let (_folder, file) = written(name, text);
        let gateway = Gateway::start(None, &["-c", file.to_str().unwrap()]);
        assert_eq!(get(gateway.web(), "/").unwrap().text(), says);
    }
    // A folder, with a document of each kind in it.
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("a.yaml"),
        "listeners: [{ name: web, bind: '127.0.0.1:0' }]",
    )
    .unwrap();
    let routes = json!({ "routes": [{ "name": "all", "filters": [{ "type": "respond", "body": "folder" }] }] });
    std::fs::write(folder.path().join("b.json"), routes.to_string()).unwrap();
    std::fs::write(folder.path().join("notes.txt"), "not a configuration").unwrap();
    let gateway = Gateway::start(None, &["-c", folder.path().to_str().unwrap()]);
    assert_eq!(get(gateway.web(), "/").unwrap().text(), "folder");
}

#[test]
fn explain_names_the_winner_and_why_the_others_lost() {
    let text = "listeners: [{ name: web, bind: '127.0.0.1:8080', filters: [{ type: request-id }] }]\n\
                routes:\n\
                - { name: gold, match: { hosts: [shop.example], path: /orders, headers: { x-tenant: gold } }, filters: [{ type: headers, request: { set: { a: b } } }], backends: [{ upstream: one, weight: 3 }] }\n\
                - { name: orders, match: { hosts: [shop.example], path: /orders }, backends: [{ upstream: one }] }\n\
                - { name: posts, match: { hosts: [shop.example], path: /orders, methods: [POST] }, backends: [{ upstream: one }] }\n\
                - { name: rest, backends: [{ upstream: one }] }\n\
                upstreams: [{ name: one, endpoints: ['127.0.0.1:1'] }]\n";
    let (_folder, file) = written("gateway.yaml", text);
    let ask = |more: &[&str]| {
        let output = on(
            &[
                &["explain", "GET", "http://shop.example/a/../orders/7"],
                more,
            ]
            .concat(),
            &file,
        );
        assert_eq!(output.status.code(), Some(0), "{:?}", texts(&output));
        texts(&output).0
    };
    let plain = ask(&[]);
    for line in [
        "listener web",
        "filters: request-id",
        "route orders",
        "upstream one",
        "/orders/7",
        "posts: ",
        "gold: ",
        "rest: lost to orders",
    ] {
        assert!(plain.contains(line), "{line}:\n{plain}");
    }
    let why: Vec<&str> = plain
        .lines()
        .filter(|line| line.contains("posts: ") || line.contains("gold: "))
        .collect();
    assert!(
        why.iter().any(|line| line.contains("method"))
            && why.iter().any(|line| line.contains("x-tenant")),
        "{why:?}"
    );
    let page: Value = serde_json::from_str(&ask(&[
        "--json",
        "-H",
        "x-tenant: gold",
        "--peer",
        "192.0.2.7",
    ]))
    .unwrap();
    assert_eq!(page["path"], "/orders/7");
    let web = &page["listeners"][0];
    assert_eq!(
        (&web["listener"], &web["route"]["name"]),
        (&"web".into(), &"gold".into())
    );
    assert_eq!(
        web["route"]["backends"][0],
        json!({ "upstream": "one", "weight": 3, "endpoints": ["127.0.0.1:1"] })
    );
    let outcome = |name: &str| {
        let verdicts = web["verdicts"].as_array().unwrap();
        verdicts
            .iter()
            .find(|verdict| verdict["route"] == name)
            .unwrap()["outcome"]
            .clone()
    };
    assert_eq!(outcome("gold"), "won");
    assert_eq!(outcome("orders"), "lost");
}

#[test]
fn what_is_converted_means_the_same() {
    let (_folder, file) = written("example.json", EXAMPLE);
    let once = texts(&on(&["convert", "--to", "native"], &file)).0;
    let (_folder, file) = written("again.yaml", &once);
    let again = texts(&on(&["convert", "--to", "native"], &file)).0;
    assert!(once.contains("upstream: orders-v1"), "{once}");
    assert_eq!(once, again);
    let output = on(
        &[
            "explain",
            "GET",
            "http://shop.example/orders",
            "-H",
            "x-tenant: gold",
            "-H",
            "x-version: v2",
        ],
        &file,
    );
    assert!(texts(&output).0.contains("route orders"));
    assert_eq!(on(&["check"], &file).status.code(), Some(0));
}

#[test]
fn the_order_of_layers_of_each_mode_is_pinned() {
    for mode in ["gateway", "ingress", "api", "mesh-inbound", "mesh-outbound"] {
        let printed = texts(&run(["stack", "--mode", mode])).0;
        let golden = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join(format!("tests/binary/golden/stack-{mode}.txt"));
        if std::env::var_os("PORTCULLIS_UPDATE_GOLDEN").is_some() {
            std::fs::write(&golden, &printed).unwrap();
        }
        let pinned = std::fs::read_to_string(&golden).unwrap_or_default();
        assert_eq!(
            printed, pinned,
            "if this is meant, run the test with PORTCULLIS_UPDATE_GOLDEN=1"
        );
    }
}

#[test]
fn the_schema_is_one_and_knows_every_plugin() {
    let text = texts(&run(["schema"])).0;
    for plugin in [
        "request-id",
        "headers",
        "rewrite",
        "redirect",
        "respond",
        "body-limit",
        "compression",
        "dns",
        "p2c",
        "maglev",
        "ring-hash",
    ] {
        assert!(
            text.contains(&format!("\"const\": \"{plugin}\"")),
            "{plugin}"
        );
    }
    let (folder, schema) = written("schema.json", &text);
    let example: Value = serde_json::from_str(EXAMPLE).unwrap();
    let spoiled = |pointer: &str, value: Value| {
        let mut spoiled = example.clone();
        *spoiled.pointer_mut(pointer).expect("the example has it") = value;
        spoiled
    };
    let documents = [
        example.clone(),
        spoiled("/routes/0/filters/0", json!({ "type": "unheard-of" })),
        spoiled("/routes/0/filters/1/max", json!(["much"])),
        spoiled("/routes/0/timeouts", json!({ "totel": "5s" })),
        spoiled("/upstreams/0/balance", json!({ "type": "p3c" })),
        spoiled("/listeners/0/timeouts/head", json!("soon")),
    ];
    let files: Vec<String> = documents
        .iter()
        .enumerate()
        .map(|(number, document)| {
            let file = folder.path().join(format!("{number}.json"));
            std::fs::write(&file, document.to_string()).unwrap();
            file.to_str().unwrap().to_owned()
        })
        .collect();
    let args: Vec<&str> = std::iter::once(schema.to_str().unwrap())
        .chain(files.iter().map(String::as_str))
        .collect();
    let verdicts = python("validate.py", &args);
    let mut verdicts = verdicts.lines();
    assert_eq!(verdicts.next(), Some("valid"));
    for (verdict, file) in verdicts.by_ref().zip(&files[1..]) {
        assert_ne!(verdict, "valid", "{file}");
        // The gateway agrees.
        assert_eq!(
            on(&["check"], Path::new(file)).status.code(),
            Some(1),
            "{file}"
        );
    }
}

#[test]
fn flags_of_run_say_over_the_configuration() {
    let yaml = "listeners: [{ name: web, bind: '192.0.2.1:1' }]\n\
                routes: [{ name: all, filters: [{ type: respond, body: here }] }]\n\
                admin: { bind: '192.0.2.1:2' }\n";
    let gateway = Gateway::start(
        Some(yaml),
        &[
            "--listen",
            "web=127.0.0.1:0",
            "--workers",
            "3",
            "--admin",
            "off",
        ],
    );
    assert_eq!(gateway.admin(), None);
    // A thread names itself once it runs, which may be after the gateway is ready.
    eventually("three workers", || {
        let threads = gateway.threads();
        let workers = threads
            .iter()
            .filter(|name| name.starts_with("portcullis-"));
        (workers.count() == 3).then_some(())
    });
    for _ in 0..12 {
        assert_eq!(
            Client::connect(gateway.web())
                .unwrap()
                .get("/")
                .unwrap()
                .text(),
            "here"
        );
    }
    let unknown = on(
        &["run", "--listen", "wep=127.0.0.1:0"],
        &gateway.config_file(),
    );
    let (_, err) = texts(&unknown);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(err.contains("`wep`") && err.contains("web"), "{err}");
}
