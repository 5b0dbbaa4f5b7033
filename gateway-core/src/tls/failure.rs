//! Handshake failures by class, for status codes, reason codes and people.

use std::fmt;
use std::io;

use rustls::{AlertDescription, CertificateError, Error};

/// The class of a failed handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HandshakeFailureKind {
    /// The peer's certificate is not issued by a trusted authority.
    UnknownAuthority,
    /// The peer's certificate is for other names.
    WrongName,
    /// The peer's certificate is past its validity.
    Expired,
    /// The peer's certificate is before its validity.
    NotYetValid,
    /// The peer's certificate is revoked.
    Revoked,
    /// The peer's certificate is unusable in another way.
    BadCertificate,
    /// The peer showed no certificate where one is required.
    NoCertificate,
    /// The peer refused our certificate, or wanted one and got none.
    CertificateRefused,
    /// No ALPN protocol in common.
    NoCommonProtocol,
    /// No TLS version, cipher suite or signature scheme in common.
    Incompatible,
    /// The peer does not serve the name asked for.
    UnknownServerName,
    /// The peer does not speak TLS on this port, or breaks its rules.
    ProtocolError,
    /// The peer closed or reset the connection during the handshake.
    Closed,
    /// Anything else.
    Other,
}

impl HandshakeFailureKind {
    /// The reason code of logs and metrics.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::UnknownAuthority => "tls_unknown_authority",
            Self::WrongName => "tls_wrong_name",
            Self::Expired => "tls_expired",
            Self::NotYetValid => "tls_not_yet_valid",
            Self::Revoked => "tls_revoked",
            Self::BadCertificate => "tls_bad_certificate",
            Self::NoCertificate => "tls_no_certificate",
            Self::CertificateRefused => "tls_certificate_refused",
            Self::NoCommonProtocol => "tls_no_common_protocol",
            Self::Incompatible => "tls_incompatible",
            Self::UnknownServerName => "tls_unknown_server_name",
            Self::ProtocolError => "tls_protocol_error",
            Self::Closed => "tls_closed",
            Self::Other => "tls_error",
        }
    }

    const fn summary(self) -> &'static str {
        match self {
            Self::UnknownAuthority => "the peer's certificate is not issued by a trusted authority",
            Self::WrongName => "the peer's certificate is for another name",
            Self::Expired => "the peer's certificate has expired",
            Self::NotYetValid => "the peer's certificate is not valid yet",
            Self::Revoked => "the peer's certificate is revoked",
            Self::BadCertificate => "the peer's certificate cannot be used",
            Self::NoCertificate => "the peer showed no certificate",
            Self::CertificateRefused => "the peer refused our certificate or requires one",
            Self::NoCommonProtocol => "no application protocol in common (ALPN)",
            Self::Incompatible => "no TLS version or cipher in common",
            Self::UnknownServerName => "the peer does not serve the name asked for",
            Self::ProtocolError => "the peer does not speak TLS properly",
            Self::Closed => "the peer closed the connection during the TLS handshake",
            Self::Other => "the TLS handshake failed",
        }
    }
}

/// A failed handshake: its class and what exactly was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandshakeFailure {
    kind: HandshakeFailureKind,
    detail: Box<str>,
}

impl HandshakeFailure {
    /// Classifies the error of a tokio-rustls handshake.
    #[must_use]
    pub fn from_io(error: &io::Error) -> Self {
        if let Some(tls) = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<Error>())
        {
            return Self::from_rustls(tls);
        }
        let kind = match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe => HandshakeFailureKind::Closed,
            _ => HandshakeFailureKind::Other,
        };
        Self {
            kind,
            detail: error.to_string().into(),
        }
    }

    /// Classifies an error of rustls.
    #[must_use]
    pub fn from_rustls(error: &Error) -> Self {
        Self {
            kind: classify(error),
            detail: error.to_string().into(),
        }
    }

    /// The class.
    #[must_use]
    pub fn kind(&self) -> HandshakeFailureKind {
        self.kind
    }
}

/// The class in words, then what the TLS library said.
impl fmt::Display for HandshakeFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.summary(), self.detail)
    }
}

impl std::error::Error for HandshakeFailure {}

fn classify(error: &Error) -> HandshakeFailureKind {
    use HandshakeFailureKind as Kind;
    match error {
        Error::InvalidCertificate(reason) => classify_certificate(reason),
        Error::NoCertificatesPresented => Kind::NoCertificate,
        Error::NoApplicationProtocol => Kind::NoCommonProtocol,
        Error::PeerIncompatible(_) => Kind::Incompatible,
        Error::AlertReceived(alert) => classify_alert(*alert),
        Error::InvalidMessage(_)
        | Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::PeerMisbehaved(_)
        | Error::PeerSentOversizedRecord
        | Error::DecryptError => Kind::ProtocolError,
        _ => Kind::Other,
    }
}

fn classify_certificate(reason: &CertificateError) -> HandshakeFailureKind {
    use HandshakeFailureKind as Kind;
    match reason {
        CertificateError::UnknownIssuer => Kind::UnknownAuthority,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Kind::WrongName
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Kind::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            Kind::NotYetValid
        }
        CertificateError::Revoked => Kind::Revoked,
        _ => Kind::BadCertificate,
    }
}

fn classify_alert(alert: AlertDescription) -> HandshakeFailureKind {
    use HandshakeFailureKind as Kind;
    match alert {
        AlertDescription::NoCertificate
        | AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::CertificateRequired => Kind::CertificateRefused,
        AlertDescription::HandshakeFailure
        | AlertDescription::ProtocolVersion
        | AlertDescription::InsufficientSecurity => Kind::Incompatible,
        AlertDescription::NoApplicationProtocol => Kind::NoCommonProtocol,
        AlertDescription::UnrecognisedName => Kind::UnknownServerName,
        AlertDescription::CloseNotify | AlertDescription::UserCanceled => Kind::Closed,
        AlertDescription::UnexpectedMessage
        | AlertDescription::DecodeError
        | AlertDescription::IllegalParameter => Kind::ProtocolError,
        _ => Kind::Other,
    }
}
