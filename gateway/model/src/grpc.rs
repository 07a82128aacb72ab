//! gRPC over HTTP/2 as values: status codes, which of them each refusal is, deadlines, and text in fields.
//!
//! # Source
//! `doc/PROTOCOL-HTTP2.md` and `doc/statuscodes.md` of the gRPC project.

use std::{borrow::Cow, fmt::Write, time::Duration};

use crate::problem::ProblemKind;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $name:literal;)*) => {
        /// How a call ended.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Code { $($(#[$doc])* $variant = $number,)* }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The number in `grpc-status`.
            pub const fn number(self) -> u8 {
                match self { $(Self::$variant => $number,)* }
            }

            /// The number as text.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => stringify!($number),)* }
            }

            /// The name, as documents write it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

codes! {
    /// It went well.
    Ok = 0, "ok";
    /// The caller gave up.
    Cancelled = 1, "cancelled";
    /// Nobody knows what went wrong.
    Unknown = 2, "unknown";
    /// The request is wrong, whatever the state of the system.
    InvalidArgument = 3, "invalid_argument";
    /// The time was over before the call was.
    DeadlineExceeded = 4, "deadline_exceeded";
    /// There is no such thing.
    NotFound = 5, "not_found";
    /// It is there already.
    AlreadyExists = 6, "already_exists";
    /// The caller is known, and may not.
    PermissionDenied = 7, "permission_denied";
    /// A quota or a size is used up.
    ResourceExhausted = 8, "resource_exhausted";
    /// The system is not in the state that the call needs.
    FailedPrecondition = 9, "failed_precondition";
    /// It collided with another call.
    Aborted = 10, "aborted";
    /// Past the valid range.
    OutOfRange = 11, "out_of_range";
    /// There is no such method.
    Unimplemented = 12, "unimplemented";
    /// Something that holds always did not.
    Internal = 13, "internal";
    /// Not now; trying again may help.
    Unavailable = 14, "unavailable";
    /// Data is lost.
    DataLoss = 15, "data_loss";
    /// Who calls is not known.
    Unauthenticated = 16, "unauthenticated";
}

impl Code {
    /// The code that a `grpc-status` field says; what is no code is [`Code::Unknown`], as clients take it.
    pub fn parse(text: &[u8]) -> Self {
        let number = std::str::from_utf8(text).ok().and_then(|text| text.parse::<u8>().ok());
        Self::ALL.iter().copied().find(|code| Some(code.number()) == number).unwrap_or(Self::Unknown)
    }
}

impl From<ProblemKind> for Code {
    /// What a client of gRPC is told instead of a problem. Clients retry `unavailable` and, where they are told when,
    /// `resource_exhausted`: what would be refused again is neither.
    fn from(kind: ProblemKind) -> Self {
        use ProblemKind as Kind;
        match kind {
            Kind::RequestMalformed
            | Kind::PathInvalid
            | Kind::CredentialMisplaced
            | Kind::UriTooLong
            | Kind::ContentTypeUnsupported
            | Kind::ExpectationFailed
            | Kind::RequestInvalid
            | Kind::DocumentInvalid
            | Kind::GrantUnsupported
            | Kind::ScopeInvalid
            | Kind::ConsistencyTokenInvalid
            | Kind::WebSocketInvalid => Self::InvalidArgument,
            Kind::TlsRequired => Self::FailedPrecondition,
            Kind::CredentialsMissing | Kind::CredentialsInvalid | Kind::CertificateNotAsked => Self::Unauthenticated,
            Kind::ScopeInsufficient | Kind::RouteForbidden | Kind::KeyRestricted | Kind::RoleInsufficient | Kind::OriginForbidden => {
                Self::PermissionDenied
            }
            // To a client of gRPC a path is a method, and a host is a service.
            Kind::RouteNotFound
            | Kind::OperationNotFound
            | Kind::MethodNotAllowed
            | Kind::HostUnknown
            | Kind::UpgradeUnsupported
            | Kind::WebSocketVersion => Self::Unimplemented,
            Kind::ResourceNotFound => Self::NotFound,
            Kind::ResourceConflict => Self::AlreadyExists,
            // The client has to begin anew, at a higher level than this call.
            Kind::PositionLost => Self::Aborted,
            // Libraries of gRPC say the same of messages and metadata over their own limits.
            Kind::QuotaExceeded | Kind::PeerLimited | Kind::BodyTooLarge | Kind::HeadersTooLarge => Self::ResourceExhausted,
            Kind::RequestTimeout | Kind::UpstreamTimeout => Self::DeadlineExceeded,
            Kind::Internal | Kind::UpstreamMalformed | Kind::LoopDetected => Self::Internal,
            Kind::UpstreamUnreachable
            | Kind::AuthorityStale
            | Kind::IssuerUnreachable
            | Kind::RevocationUnknown
            | Kind::AuditUnavailable
            | Kind::RegionUnavailable
            | Kind::PositionUnreached
            | Kind::ResidencyMismatch
            | Kind::CircuitOpen
            | Kind::Overloaded
            | Kind::NotReady
            | Kind::DatabaseUnavailable => Self::Unavailable,
        }
    }
}

/// True for the media types of gRPC: `application/grpc`, also with a message format (`+proto`) or parameters. The types of
/// gRPC-Web are others.
pub fn is_media_type(text: &[u8]) -> bool {
    const TYPE: &[u8] = b"application/grpc";
    let Some((start, rest)) = text.split_at_checked(TYPE.len()) else { return false };
    start.eq_ignore_ascii_case(TYPE) && matches!(rest.first(), None | Some(b'+' | b';' | b' ' | b'\t'))
}

/// Digits that a `grpc-timeout` may have.
const TIMEOUT_DIGITS_MAX: usize = 8;
/// One more than the largest number of so many digits.
const TIMEOUT_MAX: u128 = 10_u128.pow(8);
/// Units of a `grpc-timeout`, with their nanoseconds.
const UNITS: [(u8, u128); 6] =
    [(b'n', 1), (b'u', 1_000), (b'm', 1_000_000), (b'S', 1_000_000_000), (b'M', 60_000_000_000), (b'H', 3_600_000_000_000)];

/// Reads a `grpc-timeout`; `None` when it is none.
pub fn parse_timeout(text: &[u8]) -> Option<Duration> {
    let (unit, digits) = text.split_last()?;
    let (_, nanos) = UNITS.iter().find(|(letter, _)| letter == unit)?;
    if digits.is_empty() || digits.len() > TIMEOUT_DIGITS_MAX || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0_u128, |sum, digit| sum * 10 + u128::from(digit - b'0'));
    let nanos = number * nanos;
    Some(Duration::new(u64::try_from(nanos / 1_000_000_000).ok()?, u32::try_from(nanos % 1_000_000_000).ok()?))
}

/// Writes a `grpc-timeout`: never more than what is left, in the finest unit that has room.
pub fn timeout(left: Duration) -> String {
    // Zero is no timeout; what is left when nothing is left runs out on the way.
    let nanos = left.as_nanos().max(1);
    let fits = UNITS.iter().find(|(_, unit)| nanos / unit < TIMEOUT_MAX);
    let (letter, number) = fits.map_or((b'H', TIMEOUT_MAX - 1), |(letter, unit)| (*letter, nanos / unit));
    format!("{number}{}", char::from(letter))
}

/// Text as `grpc-message` carries it: percent-encoded where it is not printable ASCII.
pub fn message(text: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'%';
    if text.bytes().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        if is_plain(byte) {
            out.push(char::from(byte));
        } else {
            // Writing into a text cannot fail.
            write!(out, "%{byte:02X}").unwrap_or_default();
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests;
