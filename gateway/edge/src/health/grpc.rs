//! `grpc.health.v1.Health/Check`: a question of one field, an answer of one field, written and read by hand.
//!
//! # Source
//! `doc/health-checking.md` of the gRPC project; the encoding of Protocol Buffers.

use bytes::{BufMut, Bytes, BytesMut};
use http::{Request, Version, header};
use http_body_util::{BodyExt, Limited};
use model::{
    grpc::Code,
    structure::{Target, resilience::HealthCheck},
};

use super::check::{AGENT, CheckError};
use crate::{body::RequestBody, grpc, http2::Session};

/// `ServingStatus.SERVING`.
const SERVING: u64 = 1;
/// The answer has five bytes before it and two in it.
const ANSWER_BYTES_MAX: usize = 1 << 10;
/// What stands before each message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// Asks over a session.
///
/// # Errors
/// [`CheckError`]: also when the service does not know the name that it is asked about, or has no health service at all.
pub(super) async fn ask(session: Session, target: &Target, rule: &HealthCheck) -> Result<(), CheckError> {
    let scheme = if target.reach.tls.is_some() { "https" } else { "http" };
    let host = rule.host.as_deref().unwrap_or(&target.authority);
    let request = Request::post(format!("{scheme}://{host}{}/grpc.health.v1.Health/Check", target.base_path))
        .version(Version::HTTP_2)
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .header(header::USER_AGENT, AGENT)
        .header(grpc::TIMEOUT, model::grpc::timeout(rule.timeout))
        .body(RequestBody::Whole(Some(question(&rule.service))))
        .map_err(CheckError::Question)?;
    let response = session.exchange(request).await.map_err(|failure| CheckError::Exchange(failure.cause))?;
    if !response.status().is_success() {
        return Err(CheckError::Status(response.status().as_u16()));
    }
    let in_head = grpc::status(response.headers());
    let whole = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await.map_err(|_| CheckError::Answer)?;
    match in_head.or_else(|| grpc::status(whole.trailers()?)) {
        Some(Code::Ok) => {}
        Some(code) => return Err(CheckError::Code(code.name())),
        None => return Err(CheckError::Answer),
    }
    match serving(&whole.to_bytes()) {
        Some(SERVING) => Ok(()),
        Some(other) => Err(CheckError::NotServing(other)),
        None => Err(CheckError::Answer),
    }
}

/// `HealthCheckRequest { service }`.
fn question(service: &str) -> Bytes {
    // The document's compiler keeps names so short that each length is one byte.
    let length = u8::try_from(service.len()).unwrap_or(0);
    let mut out = BytesMut::with_capacity(PREFIX_BYTES + 2 + service.len());
    out.put_u8(0);
    if length == 0 {
        out.put_u32(0);
    } else {
        out.put_u32(u32::from(length) + 2);
        out.put_slice(&[0x0a, length]);
        out.put_slice(service.as_bytes());
    }
    out.freeze()
}

/// `HealthCheckResponse.status`, where absent means 0; `None` when the answer is not one whole message.
fn serving(answer: &[u8]) -> Option<u64> {
    let (prefix, mut message) = answer.split_at_checked(PREFIX_BYTES)?;
    let [0, length @ ..] = prefix else { return None };
    if u32::from_be_bytes(length.try_into().ok()?) != u32::try_from(message.len()).ok()? {
        return None;
    }
    let mut status = 0;
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        match (tag >> 3, tag & 7) {
            (1, 0) => status = varint(&mut message)?,
            (_, 0) => drop(varint(&mut message)?),
            (_, 1) => message = message.get(8..)?,
            (_, 2) => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                message = message.get(length..)?;
            }
            (_, 5) => message = message.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

fn varint(input: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for place in 0..10 {
        let (byte, rest) = input.split_first()?;
        *input = rest;
        value |= u64::from(byte & 0x7f).checked_shl(7 * place)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests;
