//! What holds for every body.
//!
//! ```
//! use bytes::Bytes;
//! use portcullis_core::Body;
//! use portcullis_core::testing::body::check_body;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! check_body(|| Body::from("five!"), b"five!", None).await;
//!
//! let mut trailers = http::HeaderMap::new();
//! trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
//! let make = || Body::with_trailers(Bytes::from_static(b"five!"), trailers.clone());
//! check_body(make, b"five!", Some(&trailers)).await;
//! # }
//! ```

use std::future::poll_fn;
use std::pin::Pin;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame};

use crate::error::BoxError;

/// More frames than this without an end mean a body that spins.
const MOST_FRAMES: usize = 100_000;

/// Reads bodies made by `make` to their end, and others only in part.
///
/// The laws: data frames, then at most one frame of trailers, then the end and nothing after it; the data and
/// trailers are the expected ones; before each frame the size hint's bounds hold for the data still to come, so
/// an exact hint is its length; `is_end_stream` is true only when no frame follows.
///
/// # Panics
/// When a law is broken or the body fails.
pub async fn check_body<B>(
    make: impl Fn() -> B,
    expected_data: &[u8],
    expected_trailers: Option<&HeaderMap>,
) where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let frames = reads_to_the_end(make(), expected_data, expected_trailers).await;
    for stop in 0..frames.min(8) {
        let mut body = Box::pin(make());
        for _ in 0..stop {
            let _ = next(&mut body).await;
        }
        // Dropped here, in the middle: that must be fine.
    }
}

/// Returns the number of frames.
async fn reads_to_the_end<B>(
    body: B,
    expected_data: &[u8],
    expected_trailers: Option<&HeaderMap>,
) -> usize
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let mut body = Box::pin(body);
    let mut rest = expected_data;
    let mut trailers: Option<HeaderMap> = None;
    for position in 0..MOST_FRAMES {
        check_hint(&*body, rest.len());
        let over = body.is_end_stream();
        let Some(frame) = next(&mut body).await else {
            assert!(rest.is_empty(), "the body ended {} bytes early", rest.len());
            assert_eq!(trailers.as_ref(), expected_trailers, "the trailers differ");
            for _ in 0..2 {
                check_hint(&*body, 0);
                assert!(
                    next(&mut body).await.is_none(),
                    "a frame came after the end"
                );
            }
            return position;
        };
        assert!(!over, "a frame came although `is_end_stream` was true");
        assert!(trailers.is_none(), "a frame came after the trailers");
        match frame.into_data() {
            Ok(data) => {
                let behind = rest.strip_prefix(&*data);
                assert!(
                    behind.is_some(),
                    "the data differs {} bytes before its end",
                    rest.len()
                );
                rest = behind.unwrap_or_default();
            }
            Err(frame) => {
                assert!(rest.is_empty(), "trailers came {} bytes early", rest.len());
                trailers = frame.into_trailers().ok();
            }
        }
    }
    panic!("no end after {MOST_FRAMES} frames");
}

fn check_hint<B: HttpBody>(body: &B, left: usize) {
    let (hint, left) = (body.size_hint(), left as u64);
    assert!(
        hint.lower() <= left && hint.upper().is_none_or(|upper| left <= upper),
        "the size hint is {hint:?} while {left} bytes are left"
    );
}

async fn next<B>(body: &mut Pin<Box<B>>) -> Option<Frame<Bytes>>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    match poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        None => None,
        Some(Ok(frame)) => Some(frame),
        Some(Err(error)) => {
            let error: BoxError = error.into();
            panic!("the body failed: {}", crate::error::chain(&*error));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll};

    use http_body::SizeHint;

    use super::*;
    use crate::body::Body;

    /// Says what it is told to say.
    struct Scripted {
        frames: Vec<&'static str>,
        hint: SizeHint,
        over: bool,
    }

    impl HttpBody for Scripted {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            let frame = self.frames.pop().map(|text| match text {
                "trailers" => Frame::trailers(HeaderMap::new()),
                text => Frame::data(Bytes::from_static(text.as_bytes())),
            });
            Poll::Ready(frame.map(Ok))
        }

        fn is_end_stream(&self) -> bool {
            self.over
        }

        fn size_hint(&self) -> SizeHint {
            self.hint
        }
    }

    fn scripted(frames: &'static [&'static str]) -> Scripted {
        let frames = frames.iter().rev().copied().collect();
        Scripted {
            frames,
            hint: SizeHint::default(),
            over: false,
        }
    }

    #[tokio::test]
    async fn bodies_of_the_core_obey() {
        check_body(Body::empty, b"", None).await;
        check_body(|| Body::from("abc"), b"abc", None).await;
        check_body(|| Body::new(scripted(&["ab", "", "c"])), b"abc", None).await;
        check_body(
            || scripted(&["abc", "trailers"]),
            b"abc",
            Some(&HeaderMap::new()),
        )
        .await;
    }

    #[tokio::test]
    #[should_panic = "a frame came although `is_end_stream` was true"]
    async fn an_end_announced_too_early_is_found() {
        check_body(
            || Scripted {
                over: true,
                ..scripted(&["abc"])
            },
            b"abc",
            None,
        )
        .await;
    }

    #[tokio::test]
    #[should_panic = "the size hint is"]
    async fn a_wrong_hint_is_found() {
        check_body(
            || Scripted {
                hint: SizeHint::with_exact(3),
                ..scripted(&["a", "bc"])
            },
            b"abc",
            None,
        )
        .await;
    }

    #[tokio::test]
    #[should_panic = "a frame came after the trailers"]
    async fn data_behind_trailers_is_found() {
        check_body(
            || scripted(&["abc", "trailers", ""]),
            b"abc",
            Some(&HeaderMap::new()),
        )
        .await;
    }

    #[tokio::test]
    #[should_panic = "the trailers differ"]
    async fn lost_trailers_are_found() {
        check_body(|| scripted(&["abc"]), b"abc", Some(&HeaderMap::new())).await;
    }
}
