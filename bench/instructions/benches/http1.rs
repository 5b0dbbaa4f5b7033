//! Parsing and writing the heads of HTTP/1 messages.

use std::hint::black_box;

use bytes::BytesMut;
use gungraun::prelude::*;
use portcullis::testing::bench::http1::{self as wire, HeadLimits, RequestHead, ScanState};

const SMALL: &str = "GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n";

fn again(head: &str) -> BytesMut {
    for _ in 0..4 {
        read_request(BytesMut::from(head));
    }
    BytesMut::from(head)
}

#[inline(never)]
fn read_request(mut head: BytesMut) -> RequestHead {
    let mut state = ScanState::default();
    wire::parse_request(&mut head, &mut state, &HeadLimits::default())
        .unwrap()
        .unwrap()
}

#[library_benchmark]
#[bench::small(again(SMALL))]
fn parse_request(head: BytesMut) -> RequestHead {
    black_box(read_request(black_box(head)))
}

library_benchmark_group!(name = heads, benchmarks = [parse_request]);
