//! The closed list of signature algorithms, and sets of them that cannot mix secrets with public keys.

/// What kind of key an algorithm needs. Each key belongs to exactly one family, each algorithm too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Rsa,
    P256,
    P384,
    Ed25519,
    Secret,
}

macro_rules! algorithms {
    ($($(#[$doc:meta])* $variant:ident = $name:ident, $family:ident;)*) => {
        /// A signature algorithm of RFC 7518 or RFC 8037 that the gateway knows. There is no `none`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Algorithm { $($(#[$doc])* $variant,)* }

        impl Algorithm {
            /// Every algorithm.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The registered name, as `alg` has it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => stringify!($name),)* }
            }

            pub(super) const fn family(self) -> Family {
                match self { $(Self::$variant => Family::$family,)* }
            }

            pub(super) const fn library(self) -> jsonwebtoken::Algorithm {
                match self { $(Self::$variant => jsonwebtoken::Algorithm::$name,)* }
            }
        }
    };
}

algorithms! {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256 = RS256, Rsa;
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384 = RS384, Rsa;
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512 = RS512, Rsa;
    /// RSASSA-PSS with SHA-256.
    Ps256 = PS256, Rsa;
    /// RSASSA-PSS with SHA-384.
    Ps384 = PS384, Rsa;
    /// RSASSA-PSS with SHA-512.
    Ps512 = PS512, Rsa;
    /// ECDSA over P-256 with SHA-256.
    Es256 = ES256, P256;
    /// ECDSA over P-384 with SHA-384.
    Es384 = ES384, P384;
    /// Ed25519 (RFC 8037). Ed448 has the same name and is not spoken.
    EdDsa = EdDSA, Ed25519;
    /// HMAC with SHA-256.
    Hs256 = HS256, Secret;
    /// HMAC with SHA-384.
    Hs384 = HS384, Secret;
    /// HMAC with SHA-512.
    Hs512 = HS512, Secret;
}

impl Algorithm {
    /// Reads a name. Names are compared exactly: RFC 7515 §4.1.1 makes them case-sensitive.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|algorithm| algorithm.name() == name)
    }

    /// The fewest bytes of a secret: those of the hash (RFC 7518 §3.2). Nothing for algorithms with public keys.
    pub(super) const fn secret_bytes_min(self) -> usize {
        match self {
            Self::Hs256 => 32,
            Self::Hs384 => 48,
            Self::Hs512 => 64,
            Self::Rs256 | Self::Rs384 | Self::Rs512 | Self::Ps256 | Self::Ps384 | Self::Ps512 | Self::Es256 | Self::Es384 | Self::EdDsa => 0,
        }
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// A set of algorithms for one issuer: never empty, and either all with secrets or all with public keys.
///
/// The second rule is what makes the old attack impossible in which a public key, known to all, is used as an HMAC
/// secret: no issuer has both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Algorithms(u16);

/// Why a list of algorithms is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AlgorithmsFault {
    /// There is none.
    #[error("at least one algorithm is needed")]
    Empty,
    /// HMAC stands beside algorithms with public keys.
    #[error("algorithms with a secret (HS*) and algorithms with public keys do not go together")]
    Mixed,
}

impl Algorithms {
    /// Makes the set.
    ///
    /// # Errors
    /// [`AlgorithmsFault`], when the list is empty or mixed.
    pub fn new(list: &[Algorithm]) -> Result<Self, AlgorithmsFault> {
        let is_secret = |algorithm: &Algorithm| algorithm.family() == Family::Secret;
        if list.is_empty() {
            return Err(AlgorithmsFault::Empty);
        }
        if list.iter().any(is_secret) && !list.iter().all(is_secret) {
            return Err(AlgorithmsFault::Mixed);
        }
        Ok(Self(list.iter().fold(0, |bits, algorithm| bits | algorithm.bit())))
    }

    /// Those of a list that have no secret. A set without any takes no token.
    pub fn public(list: &[Algorithm]) -> Self {
        let public = list.iter().filter(|algorithm| algorithm.family() != Family::Secret);
        Self(public.fold(0, |bits, algorithm| bits | algorithm.bit()))
    }

    /// Whether the algorithm is one of them.
    pub const fn contains(self, algorithm: Algorithm) -> bool {
        self.0 & algorithm.bit() != 0
    }

    /// Whether these are algorithms with a shared secret.
    pub fn is_secret(self) -> bool {
        Algorithm::ALL.iter().any(|algorithm| algorithm.family() == Family::Secret && self.contains(*algorithm))
    }

    /// Those of the set for which `fits` holds; nothing when there is none.
    pub(super) fn filter(self, fits: impl Fn(Algorithm) -> bool) -> Option<Self> {
        let bits = Algorithm::ALL
            .iter()
            .filter(|algorithm| self.contains(**algorithm) && fits(**algorithm))
            .fold(0, |bits, algorithm| bits | algorithm.bit());
        (bits != 0).then_some(Self(bits))
    }
}
