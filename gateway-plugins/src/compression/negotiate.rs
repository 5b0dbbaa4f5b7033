//! What the client wants (RFC 9110 12.5.3).

use http::HeaderMap;
use http::header::ACCEPT_ENCODING;

use super::Algorithm;

/// The position of the algorithm to use among `offered`, which is in order of our preference.
///
/// `None` when the client accepts none of them or prefers the reply as it is. A client that refuses that too is
/// not told so: an encoding it cannot read is no better.
pub(super) fn negotiate(
    headers: &HeaderMap,
    offered: impl Iterator<Item = Algorithm>,
) -> Option<usize> {
    if !headers.contains_key(ACCEPT_ENCODING) {
        return None;
    }
    let any = weight_of(headers, |coding| coding == "*");
    let identity = weight_of(headers, |coding| coding.eq_ignore_ascii_case("identity"));
    let mut best = (identity.or(any).unwrap_or(0), None);
    for (position, algorithm) in offered.enumerate() {
        let names = |coding: &str| {
            coding.eq_ignore_ascii_case(algorithm.name())
                || (algorithm == Algorithm::Gzip && coding.eq_ignore_ascii_case("x-gzip"))
        };
        let weight = weight_of(headers, names).or(any).unwrap_or(0);
        // An equal weight beats the reply as it is, but not an algorithm that we prefer.
        if weight > best.0 || (weight == best.0 && weight > 0 && best.1.is_none()) {
            best = (weight, Some(position));
        }
    }
    best.1
}

/// The weight, in thousandths, of the first coding that `wanted` accepts.
fn weight_of(headers: &HeaderMap, wanted: impl Fn(&str) -> bool) -> Option<u16> {
    headers
        .get_all(ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .find_map(|item| {
            let (coding, weight) = item.split_once(';').unwrap_or((item, "q=1"));
            wanted(coding.trim()).then(|| weight_value(weight.trim()))?
        })
}

/// `q=0.25` in thousandths (RFC 9110 12.4.2).
fn weight_value(text: &str) -> Option<u16> {
    let number = text.strip_prefix(['q', 'Q'])?.strip_prefix('=')?;
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let scale = [1000, 100, 10, 1];
    let part = decimals.parse().unwrap_or(0_u16) * scale.get(decimals.len())?;
    match whole {
        "0" => Some(part),
        "1" if part == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_client_prefers_then_we_do() {
        let ours = [Algorithm::Zstd, Algorithm::Br, Algorithm::Gzip];
        for (accept, expected) in [
            ("gzip", Some("gzip")),
            ("gzip, br, zstd", Some("zstd")),
            ("gzip;q=1.0, br;q=0.9", Some("gzip")),
            ("GZIP, BR", Some("br")),
            ("x-gzip", Some("gzip")),
            ("*", Some("zstd")),
            ("*;q=0.5, zstd;q=0", Some("br")),
            ("br;q=0", None),
            ("gzip;q=0.5, identity", None),
            ("gzip, identity", Some("gzip")),
            ("identity;q=0", None),
            ("*;q=0", None),
            ("deflate", None),
            ("gzip;q=2, br;q=x, zstd;q=0.1234", None),
            ("", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(accept));
            let got = negotiate(&headers, ours.into_iter()).map(|position| ours[position].name());
            assert_eq!(got, expected, "{accept}");
        }
        assert_eq!(negotiate(&HeaderMap::new(), ours.into_iter()), None);
    }
}
