//! Just enough of an HTTP/1.1 client: GET requests, replies with a content-length.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::target::{Failure, Stream, Target};

/// More than any reply of the benchmark.
const BUFFER: usize = 16 * 1024;

/// A request that is sent again and again, and what every reply to it must be.
#[derive(Debug, Clone)]
pub(crate) struct Exchange {
    request: Vec<u8>,
    body: usize,
}

/// A reply's head.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    length: usize,
    /// Bytes up to and with the empty line.
    size: usize,
}

impl Exchange {
    pub(crate) fn new(target: &Target) -> Self {
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\n\r\n",
            target.path, target.host
        );
        Self {
            request: request.into_bytes(),
            body: target.body,
        }
    }

    /// Sends the request and reads the reply. `buffer` may be used for any number of exchanges, one after another.
    ///
    /// # Errors
    ///
    /// Anything but a reply with status 200 and a body of the expected length.
    pub(crate) async fn run<S: Stream + ?Sized>(
        &self,
        stream: &mut S,
        buffer: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let (status, body) = self.reply(stream, buffer).await?;
        match (status, body.len()) {
            (200, actual) if actual == self.body => Ok(()),
            (200, actual) => Err(Failure::Length {
                expected: self.body,
                actual,
            }),
            (status, _) => Err(Failure::Status(status)),
        }
    }

    /// Sends the request and reads any reply; its status and body.
    pub(crate) async fn reply<'buffer, S: Stream + ?Sized>(
        &self,
        stream: &mut S,
        buffer: &'buffer mut Vec<u8>,
    ) -> Result<(u16, &'buffer [u8]), Failure> {
        stream.write_all(&self.request).await?;
        stream.flush().await?;
        buffer.resize(BUFFER, 0);
        let mut read = 0;
        loop {
            match stream.read(&mut buffer[read..]).await? {
                0 if read == buffer.len() => return Err(Failure::Framing),
                0 => return Err(Failure::Closed),
                more => read += more,
            }
            let Some(head) = parse(&buffer[..read])? else {
                continue;
            };
            // More than the reply would belong to no request.
            match (head.size + head.length).cmp(&read) {
                std::cmp::Ordering::Less => return Err(Failure::Framing),
                std::cmp::Ordering::Equal => return Ok((head.status, &buffer[head.size..read])),
                std::cmp::Ordering::Greater => {}
            }
        }
    }
}

/// The head at the beginning of `bytes`, if it is complete.
fn parse(bytes: &[u8]) -> Result<Option<Head>, Failure> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(None);
    };
    let text = std::str::from_utf8(&bytes[..end]).map_err(|_| Failure::Framing)?;
    let mut lines = text.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.strip_prefix("HTTP/1.1 "))
        .and_then(|rest| rest.get(..3)?.parse().ok())
        .ok_or(Failure::Framing)?;
    let length = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok())
        .ok_or(Failure::Framing)?;
    Ok(Some(Head {
        status,
        length,
        size: end + 4,
    }))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;
    use crate::target::Protocol;

    /// What `Exchange::run` says when the server sends these pieces, each when the one before was read.
    async fn outcome(pieces: &[&str]) -> Result<(), Failure> {
        let target = Target {
            address: SocketAddr::from(([127, 0, 0, 1], 1)),
            protocol: Protocol::H1,
            host: "a".into(),
            path: "/b".into(),
            body: 3,
            ca: None,
        };
        let (mut client, mut server) = duplex(64);
        let serve = async move {
            let mut request = [0; 64];
            let read = server.read(&mut request).await.unwrap();
            assert_eq!(&request[..read], b"GET /b HTTP/1.1\r\nHost: a\r\n\r\n");
            for piece in pieces {
                server.write_all(piece.as_bytes()).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        let exchange = Exchange::new(&target);
        let mut buffer = Vec::new();
        tokio::join!(exchange.run(&mut client, &mut buffer), serve).0
    }

    #[tokio::test]
    async fn reads_a_reply_that_comes_in_pieces() {
        outcome(&[
            "HTTP/1.1 200 OK\r\nContent-",
            "Length: 3\r\n",
            "\r\na",
            "bc",
        ])
        .await
        .unwrap();
    }

    #[tokio::test]
    async fn tells_bad_replies_apart() {
        let bad = async |pieces: &[&str]| outcome(pieces).await.unwrap_err().to_string();
        let status = bad(&["HTTP/1.1 503 no\r\ncontent-length: 3\r\n\r\nabc"]).await;
        assert_eq!(status, "status 503 instead of 200");
        let length = bad(&["HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nab"]).await;
        assert_eq!(length, "a body of 2 bytes instead of 3");
        let chunked = bad(&["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"]).await;
        assert_eq!(chunked, Failure::Framing.to_string());
        let surplus = bad(&["HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabcd"]).await;
        assert_eq!(surplus, Failure::Framing.to_string());
        let cut = bad(&["HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\na"]).await;
        assert_eq!(cut, Failure::Closed.to_string());
    }
}
