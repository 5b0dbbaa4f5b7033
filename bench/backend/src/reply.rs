//! Requests in, replies out, without input or output.

use std::sync::atomic::{AtomicU64, Ordering};

use memchr::memmem::Finder;

/// Length of the ordinary reply's body, in bytes.
const BODY: usize = 1024;

/// What was counted since the start.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Connections accepted.
    pub(crate) connections: AtomicU64,
    /// Requests answered with the ordinary reply or an echo.
    pub(crate) requests: AtomicU64,
    /// Connections ended because of something that is no request.
    pub(crate) malformed: AtomicU64,
}

impl Counters {
    fn to_json(&self) -> String {
        format!(
            "{{\"connections\": {}, \"requests\": {}, \"malformed\": {}}}",
            self.connections.load(Ordering::Relaxed),
            self.requests.load(Ordering::Relaxed),
            self.malformed.load(Ordering::Relaxed),
        )
    }
}

/// Not a request this server knows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Answers requests.
#[derive(Debug)]
pub(crate) struct Replies {
    end_of_head: Finder<'static>,
    ordinary: Vec<u8>,
}

impl Replies {
    pub(crate) fn new() -> Self {
        let body = vec![b'x'; BODY];
        Self {
            end_of_head: Finder::new(b"\r\n\r\n").into_owned(),
            ordinary: reply(&body),
        }
    }

    /// Appends the replies to all complete requests at the beginning of `input` to `output`; says how many bytes
    /// those requests were.
    ///
    /// # Errors
    ///
    /// [`Malformed`] at the first request that is not like those in the table of this program.
    pub(crate) fn answer(
        &self,
        input: &[u8],
        output: &mut Vec<u8>,
        counters: &Counters,
    ) -> Result<usize, Malformed> {
        let (mut used, mut answered) = (0, 0);
        let mut outcome = Ok(());
        while let Some(end) = self.end_of_head.find(&input[used..]) {
            let head = &input[used..used + end + 4];
            let line = &head[..memchr::memchr(b'\r', head).unwrap_or(head.len())];
            let Some(target) = line
                .strip_prefix(b"GET /")
                .and_then(|line| line.strip_suffix(b" HTTP/1.1"))
            else {
                outcome = Err(Malformed);
                break;
            };
            if target.ends_with(b"?stats") {
                output.extend_from_slice(&reply(counters.to_json().as_bytes()));
            } else {
                answered += 1;
                if target.ends_with(b"?echo") {
                    output.extend_from_slice(&reply(head));
                } else {
                    output.extend_from_slice(&self.ordinary);
                }
            }
            used += head.len();
        }
        counters.requests.fetch_add(answered, Ordering::Relaxed);
        outcome.map(|()| used)
    }
}

/// The date never changes: formatting one is not what is measured, and every proxy gets the same.
fn reply(body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\n\
         server: bench\r\n\
         date: Mon, 02 Nov 2026 12:00:00 GMT\r\n\
         content-type: text/plain\r\n\
         content-length: {}\r\n\
         \r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(input: &str) -> (Result<usize, Malformed>, String, Counters) {
        let (mut output, counters) = (Vec::new(), Counters::default());
        let outcome = Replies::new().answer(input.as_bytes(), &mut output, &counters);
        (outcome, String::from_utf8(output).unwrap(), counters)
    }

    #[test]
    fn answers_pipelined_requests_and_leaves_the_incomplete_rest() {
        let complete = "GET / HTTP/1.1\r\nhost: a\r\n\r\nGET /b?c HTTP/1.1\r\n\r\n";
        let (used, output, counters) = answers(&format!("{complete}GET /c HTTP/1.1\r\nho"));
        assert_eq!(used, Ok(complete.len()));
        assert_eq!(output.matches("HTTP/1.1 200 OK\r\n").count(), 2);
        assert_eq!(
            output.matches('x').count(),
            2 * BODY + output.matches("text").count()
        );
        assert_eq!(counters.requests.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn echoes_the_head_as_it_arrived() {
        let request = "GET /a?echo HTTP/1.1\r\nX-Forwarded-For: 127.0.0.1\r\n\r\n";
        let (_, output, _) = answers(request);
        assert!(
            output.ends_with(&format!(
                "content-length: {}\r\n\r\n{request}",
                request.len()
            )),
            "{output}"
        );
    }

    #[test]
    fn counts_are_told_and_not_counted() {
        let (_, output, counters) = answers("GET / HTTP/1.1\r\n\r\nGET /?stats HTTP/1.1\r\n\r\n");
        assert_eq!(counters.requests.load(Ordering::Relaxed), 1);
        assert!(
            output.contains("\"requests\": 0"),
            "requests of the same read are counted after it: {output}"
        );
    }

    #[test]
    fn anything_else_is_malformed() {
        for request in [
            "POST / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.0\r\n\r\n",
            "5\r\nhello\r\n\r\n",
            "\r\n\r\n",
        ] {
            assert_eq!(answers(request).0, Err(Malformed), "{request:?}");
        }
    }
}
