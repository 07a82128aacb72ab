//! Every way to say no to a token: fieldless reasons for logs and metrics, and the one case in which trying again helps.

use std::fmt;

macro_rules! reasons {
    ($($variant:ident = $code:literal, $sentence:literal;)*) => {
        /// Why a token was refused. It is for operators: a client is told the same for each of them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason { $(#[doc = $sentence] $variant,)* }

        impl Reason {
            /// Every reason, for documentation and metrics.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable name: the label in metrics.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// The reason as a sentence, without anything from the token.
            pub const fn sentence(self) -> &'static str {
                match self { $(Self::$variant => $sentence,)* }
            }
        }
    };
}

reasons! {
    TokenTooLong = "token-too-long", "the token is longer than 8 KiB";
    PartCount = "part-count", "the token has not exactly three parts";
    PartEmpty = "part-empty", "a part of the token is empty";
    Encrypted = "encrypted", "the token has five parts, so it is encrypted";
    Base64Invalid = "base64-invalid", "a part is not base64url in its one canonical form without padding";
    HeaderTooLong = "header-too-long", "the header is longer than 1 KiB";
    EncodingInvalid = "encoding-invalid", "the header or the payload is not UTF-8";
    JsonInvalid = "json-invalid", "the header or the payload is not JSON";
    ObjectExpected = "object-expected", "the header or the payload is not a JSON object";
    MemberDuplicate = "member-duplicate", "a member is given more than once";
    NestingTooDeep = "nesting-too-deep", "the header or the payload is nested too deep";
    MembersTooMany = "members-too-many", "the header or the payload has too many members";
    AlgorithmMissing = "algorithm-missing", "the header has no alg, or not as text";
    AlgorithmNone = "algorithm-none", "the token says that it is not signed";
    AlgorithmUnknown = "algorithm-unknown", "the token's algorithm is not one that the gateway knows";
    CritRefused = "crit-refused", "the header has crit, and no extension is known";
    B64Refused = "b64-refused", "the header has b64, and unencoded payloads are not taken";
    TypeInvalid = "type-invalid", "the header's typ is no short text";
    KeyIdInvalid = "key-id-invalid", "the header's kid is no text of 1 to 256 bytes without control characters";
    IssuerWrong = "issuer-wrong", "the token is not of this issuer";
    TypeWrong = "type-wrong", "the token is of another type";
    AlgorithmRefused = "algorithm-refused", "the token's algorithm is not one for this issuer or this key";
    UnknownKey = "unknown-key", "the issuer has no key with this id";
    KeyRefused = "key-refused", "the issuer's key with this id cannot be used";
    KeyMissing = "key-missing", "the token names no key, and the issuer has none for its algorithm";
    KeyAmbiguous = "key-ambiguous", "the token names no key, and the issuer has several for its algorithm";
    SignatureInvalid = "signature-invalid", "the signature does not hold";
    ExpiryMissing = "expiry-missing", "the token has no exp";
    IssuedAtMissing = "issued-at-missing", "the token has no iat, and its lifetime is limited";
    DateInvalid = "date-invalid", "exp, nbf or iat is not a number of seconds between 1970 and 9999";
    Expired = "expired", "the token has expired";
    NotYetValid = "not-yet-valid", "the token is not valid yet";
    IssuedInFuture = "issued-in-future", "the token says that it was issued in the future";
    LifetimeTooLong = "lifetime-too-long", "the token lives longer than this issuer's may";
    AudienceMissing = "audience-missing", "the token names no audience";
    AudienceInvalid = "audience-invalid", "aud is neither a text nor a list of up to 16 texts";
    AudienceWrong = "audience-wrong", "the token is for another audience";
    SubjectMissing = "subject-missing", "the token has no sub";
    SubjectInvalid = "subject-invalid", "sub is no text of 1 to 255 bytes without control characters";
    TokenIdInvalid = "token-id-invalid", "jti is no text of 1 to 255 bytes without control characters";
    ClaimMissing = "claim-missing", "a claim that this issuer's tokens must have is missing";
    ScopesInvalid = "scopes-invalid", "the scopes are not scope tokens of RFC 6749 in a text or a list";
    ClientInvalid = "client-invalid", "the client is no text of 1 to 255 bytes without control characters";
    ConfirmationInvalid = "confirmation-invalid", "the token is bound to something that is not checked here";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sentence())
    }
}

/// A token that was refused.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The issuer's key set, as we have it, has no such key: it may have been changed since, so fetching it again can help.
    #[error("{}", Reason::UnknownKey)]
    UnknownKey {
        /// The id that the token names. It is the client's text: 1 to 256 bytes without control characters, and no more is known.
        kid: Box<str>,
    },
    /// Everything else: the same token would be refused again.
    #[error("{0}")]
    Refused(Reason),
}

impl Rejection {
    /// The reason alone.
    pub const fn reason(&self) -> Reason {
        match self {
            Self::UnknownKey { .. } => Reason::UnknownKey,
            Self::Refused(reason) => *reason,
        }
    }
}

impl From<Reason> for Rejection {
    fn from(reason: Reason) -> Self {
        Self::Refused(reason)
    }
}

/// The reason alone: what the client wrote stays out of logs.
impl fmt::Debug for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rejection({:?})", self.reason())
    }
}
