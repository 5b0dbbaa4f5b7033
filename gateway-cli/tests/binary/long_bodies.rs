//! Bodies that are much longer than any memory they may take, with curl at one end.
//!
//! `PORTCULLIS_LONG_BODY` says how long, in MiB: 4096 for the length that no 32 bits hold, best with a release build.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use crate::support::{Gateway, curl};

/// Unless told otherwise, in MiB.
const USUAL: u64 = 256;
/// How much the process may grow, in KiB.
const GROWTH: u64 = 48 * 1024;

fn length() -> u64 {
    let told = std::env::var("PORTCULLIS_LONG_BODY").ok();
    let mib = told.map_or(USUAL, |text| text.parse().expect("a number of MiB"));
    mib << 20
}

/// Takes bodies of PUT and says how long they were; answers GET with a body of `length` bytes.
fn upstream(length: u64) -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        while let Ok((stream, _)) = socket.accept() {
            std::thread::spawn(move || serve(stream, length));
        }
    });
    address
}

fn serve(mut stream: TcpStream, length: u64) {
    let mut reader = BufReader::with_capacity(1 << 18, stream.try_clone().unwrap());
    let mut line = String::new();
    loop {
        line.clear();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let upload = line.starts_with("PUT");
        let mut announced = 0;
        while line != "\r\n" {
            line.clear();
            reader.read_line(&mut line).unwrap();
            let lower = line.to_ascii_lowercase();
            if let Some(value) = lower.strip_prefix("content-length:") {
                announced = value.trim().parse().unwrap();
            }
        }
        if upload {
            let taken = std::io::copy(&mut reader.by_ref().take(announced), &mut std::io::sink());
            let text = taken.unwrap().to_string();
            let reply = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}",
                text.len()
            );
            stream.write_all(reply.as_bytes()).unwrap();
        } else {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            let zeroes = vec![0; 1 << 18];
            let mut left = length;
            while left > 0 {
                let step = left.min(zeroes.len() as u64);
                let piece = &zeroes[..usize::try_from(step).unwrap()];
                if stream.write_all(piece).is_err() {
                    return;
                }
                left -= step;
            }
        }
    }
}

#[test]
fn bodies_of_any_length_pass_both_ways_in_constant_memory() {
    let length = length();
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("inner.sock");
    let inner = inner.display();
    // A body of `/twice` goes through it a second time, so that it is a client of HTTP/2 as well.
    let gateway = Gateway::yaml(&format!(
        "listeners:\n\
         - {{ name: web, bind: '127.0.0.1:0' }}\n\
         - {{ name: inner, bind: 'unix:{inner}', protocol: http2 }}\n\
         routes:\n\
         - {{ name: twice, listeners: [web], match: {{ path: /twice }}, backends: [{{ upstream: inner }}] }}\n\
         - {{ name: all, backends: [{{ upstream: up }}] }}\n\
         upstreams:\n\
         - {{ name: inner, protocol: http2, endpoints: ['unix:{inner}'] }}\n\
         - {{ name: up, endpoints: ['{}'] }}\n",
        upstream(length)
    ));
    // A file of zeroes that takes no room.
    let file = folder.path().join("long");
    std::fs::File::create(&file)
        .unwrap()
        .set_len(length)
        .unwrap();
    let file = file.to_str().unwrap();
    let before = gateway.peak_memory();
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        for path in ["once", "twice"] {
            let url = format!("http://{}/{path}", gateway.web());
            let patience = ["--max-time", "240", version, "-H", "expect:"];
            let up = curl(&[&patience[..], &["-T", file, &url]].concat());
            assert_eq!(up.unwrap(), length.to_string(), "{version} {path}");
            let down = ["-o", "/dev/null", "-w", "%{http_code} %{size_download}"];
            let down = curl(&[&patience[..], &down, &[&url]].concat());
            assert_eq!(down.unwrap(), format!("200 {length}"), "{version} {path}");
            let grown = gateway.peak_memory() - before;
            assert!(grown < GROWTH, "{version} {path}: {grown} KiB more");
        }
    }
}
