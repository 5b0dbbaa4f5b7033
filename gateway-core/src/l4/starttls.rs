//! PostgreSQL's way into TLS: the client asks with a packet of eight bytes and is answered with one.
//!
//! PostgreSQL's manual, "Message Formats", `SSLRequest` and `GSSENCRequest`.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::transport::Transport;

/// Length and code of `SSLRequest`.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
/// Length and code of `GSSENCRequest`.
const GSS_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 48];

/// Willing to speak TLS.
pub(crate) const YES: &[u8] = b"S";
/// Not willing.
pub(crate) const NO: &[u8] = b"N";

/// What the first bytes of a client are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Nothing of this kind.
    Other,
    Partial,
    /// It wants TLS and waits for the answer.
    Tls,
    /// It wants encryption by GSSAPI, and asks for something else when that is refused.
    Gss,
    /// It asked, and went on without waiting: what it sent could be taken for what came through TLS.
    Early,
}

/// Looks at the first bytes of a client.
pub(crate) fn read(bytes: &[u8]) -> Asked {
    let begins = |request: &[u8; 8]| {
        let known = bytes.len().min(request.len());
        bytes[..known] == request[..known]
    };
    let asked = match (begins(&SSL_REQUEST), begins(&GSS_REQUEST)) {
        (false, false) => return Asked::Other,
        _ if bytes.len() < SSL_REQUEST.len() => return Asked::Partial,
        (true, _) => Asked::Tls,
        (_, true) => Asked::Gss,
    };
    if bytes.len() > SSL_REQUEST.len() {
        return Asked::Early;
    }
    asked
}

/// Asks an endpoint for TLS; whether it is willing.
pub(crate) async fn ask(io: &mut Transport) -> bool {
    let mut answer = [0];
    let asked = async {
        io.write_all(&SSL_REQUEST).await?;
        io.flush().await?;
        io.read_exact(&mut answer).await
    };
    asked.await.is_ok() && answer == YES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_from_other_packets() {
        for end in 0..8 {
            assert_eq!(read(&SSL_REQUEST[..end]), Asked::Partial);
        }
        assert_eq!(read(&SSL_REQUEST), Asked::Tls);
        assert_eq!(read(&GSS_REQUEST), Asked::Gss);
        assert_eq!(read(&[&SSL_REQUEST[..], b"\x16"].concat()), Asked::Early);
        // A client that does not want TLS begins with its start-up packet.
        assert_eq!(read(&[0, 0, 0, 41, 0, 3, 0, 0]), Asked::Other);
        assert_eq!(read(b"\x16\x03\x01"), Asked::Other);
    }
}
