//! HTTP Message Signatures: what a caller signs of each request, with a key that the gateway document names.
//!
//! Everything here is a plain function over values. A signature passes four gates, each of which knows nothing of the next:
//!
//! 1. [`field`]: do the two fields have one reading, within limits? Nothing is believed yet.
//! 2. [`base`]: what has been signed, built anew from the request as it came.
//! 3. [`key`]: whose key is meant, and does the signature hold?
//! 4. [`rule`]: does it cover what the route asks for, and was it made just now, for us?
//!
//! [`digest`] stands beside them: the content is signed by its hash, and is held against it once it is here.
//!
//! # Source
//! RFC 9421, RFC 9530 (digests), RFC 9651 (structured fields), ADR 0026.

pub mod base;
pub mod digest;
pub mod field;
pub mod key;
pub mod rule;

use std::sync::Arc;

use http::{HeaderMap, HeaderName};

use self::{
    base::Asked,
    digest::Digests,
    field::{Input, Signatures},
    key::Signer,
    rule::{Content, Rules},
};
use crate::time::UtcMicros;

crate::faults::faults! {
    /// Why a signature does not get its caller in. It is for operators: a client is told the same for each of them.
    pub enum Fault {
        TooLong = "fields-too-long", "the two fields have more than 8 KiB";
        Malformed = "fields-malformed", "the two fields are no dictionaries with one reading, or name too much";
        SignerUnknown = "signer-unknown", "no signature names a signer of the route";
        SignerAmbiguous = "signer-ambiguous", "several signatures name signers of the route";
        SignatureMissing = "signature-missing", "there is no signature beside its parameters";
        ParameterRefused = "parameter-refused", "the signature has a parameter that is not known, or of another type";
        ComponentRefused = "component-refused", "it covers a component twice, or one that is not known here or has parameters that are not";
        ComponentMissing = "component-missing", "it covers something that the request does not have, or has more than once";
        LookAlike = "look-alike", "a header that is not covered has a covered one's name, but for an underscore";
        NotCovered = "not-covered", "it does not cover all that the route asks for";
        DigestMissing = "digest-missing", "it does not cover the digest of the content";
        DigestInvalid = "digest-invalid", "the digest is none by SHA-256 or SHA-512, or has no one reading";
        DateWrong = "date-wrong", "it was not made just now, or does not say when";
        Expired = "expired", "it has ended by its own words";
        AlgorithmWrong = "algorithm-wrong", "it names another algorithm than its signer's";
        TagWrong = "tag-wrong", "it is for another application";
        NonceMissing = "nonce-missing", "it has no nonce, and the route asks for one";
        NonceInvalid = "nonce-invalid", "its nonce is no text of 1 to 128 bytes";
        SignatureInvalid = "signature-invalid", "it does not hold";
        DigestWrong = "digest-wrong", "the content is another than its digest says";
        Replayed = "replayed", "its nonce was used before";
        NoncesFull = "nonces-full", "too many nonces are remembered";
        ApplicationUnknown = "application-unknown", "it holds, but there is no such application";
    }
}

/// What a signature that holds proves.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Proved {
    /// What the content must be. `None` where it is not covered.
    pub digests: Option<Digests>,
    /// The nonce among all of all signers: half a hash of both. Nobody finds a second text for another's.
    pub nonce: Option<u128>,
}

/// Holds the one signature of a request that names one of these signers against the request.
///
/// # Errors
/// The first [`Fault`], from the outside in: form, signer, what it says, what it covers, and last the signature itself.
pub fn verify<'s, F>(asked: Asked<'_>, content: Content, find: F, rules: &Rules, now: UtcMicros) -> Result<(&'s Arc<Signer>, Proved), Fault>
where
    F: Fn(&str) -> Option<&'s Arc<Signer>>,
{
    let fields = field::Fields::of(asked.headers)?;
    let inputs = fields.inputs()?;
    let (signer, input) = chosen(&inputs, find)?;
    let signature = fields.signatures().and_then(|all: Signatures<'_>| all.of(input.label()).ok_or(Fault::SignatureMissing))?;
    rules.check(input, signer.key.algorithm(), content, now)?;
    if has_look_alike(asked.headers, input) {
        return Err(Fault::LookAlike);
    }
    let base = base::build(asked, input)?;
    if !signer.key.verifies(base.as_bytes(), &signature) {
        return Err(Fault::SignatureInvalid);
    }
    let digests = if input.covers(digest::NAME) { Some(Digests::of(asked.headers)?) } else { None };
    let nonce = input.nonce().map(|nonce| key::nonce_id(&signer.name, nonce));
    Ok((signer, Proved { digests, nonce }))
}

/// Whether a header that nobody has signed reads like one that is covered: many services take `x_note` for `x-note`, and which of the two they
/// believe is theirs to say.
fn has_look_alike(headers: &HeaderMap, input: &Input<'_>) -> bool {
    let plain = |byte: u8| if byte == b'_' { b'-' } else { byte };
    let are_alike = |one: &str, other: &str| one.len() == other.len() && one.bytes().map(plain).eq(other.bytes().map(plain));
    let is_of_covered = |name: &str| input.components().iter().any(|component| component.parameter.is_none() && are_alike(&component.name, name));
    headers.keys().map(HeaderName::as_str).any(|name| is_of_covered(name) && !input.covers(name))
}

/// The one signature that names a signer. Others may be there for somebody else; two of ours could be two callers.
fn chosen<'i, 's, 'f, F>(inputs: &'i [Input<'f>], find: F) -> Result<(&'s Arc<Signer>, &'i Input<'f>), Fault>
where
    F: Fn(&str) -> Option<&'s Arc<Signer>>,
{
    let mut named = inputs.iter().filter_map(|input| Some((find(input.key_id()?)?, input)));
    match (named.next(), named.next()) {
        (Some(one), None) => Ok(one),
        (Some(_), Some(_)) => Err(Fault::SignerAmbiguous),
        (None, _) => Err(Fault::SignerUnknown),
    }
}

#[cfg(test)]
mod tests;
