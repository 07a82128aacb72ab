//! The streams on which a client speaks about the connection (RFC 9114 section 6.2, RFC 9204 section 4.2).

use std::sync::atomic::{AtomicU8, Ordering};

use bytes::{BufMut, Bytes, BytesMut};
use quinn::{RecvStream, SendStream};

use super::{
    code::Code,
    credit::Credit,
    wire::{self, Fault, Reader},
};

const CONTROL: u64 = 0;
const PUSH: u64 = 1;
const ENCODER: u64 = 2;
const DECODER: u64 = 3;
const MAX_FIELD_SECTION_SIZE: u64 = 6;

/// A dozen settings are known; each has 16 bytes at most.
const SETTINGS_BYTES_MAX: u64 = 1 << 10;

/// What the gateway's control stream begins with.
pub(super) fn settings(section_max: u32) -> Bytes {
    let mut payload = BytesMut::with_capacity(16);
    wire::put_varint(&mut payload, MAX_FIELD_SECTION_SIZE);
    wire::put_varint(&mut payload, u64::from(section_max));
    let mut out = BytesMut::with_capacity(32);
    wire::put_varint(&mut out, CONTROL);
    out.put_slice(&wire::frame_head(wire::SETTINGS, payload.len()));
    out.put_slice(&payload);
    out.freeze()
}

/// Says that requests from this stream on are not served (RFC 9114 section 5.2).
///
/// # Errors
/// When the connection is gone.
pub(super) async fn go_away(control: &mut SendStream, stream: u64) -> Result<(), quinn::WriteError> {
    let mut id = BytesMut::with_capacity(8);
    wire::put_varint(&mut id, stream);
    control.write_all_chunks(&mut [wire::frame_head(wire::GOAWAY, id.len()), id.freeze()]).await
}

/// Which of the client's streams are there; each comes once.
#[derive(Debug, Default)]
pub(super) struct Claimed(AtomicU8);

impl Claimed {
    fn claim(&self, kind: u64) -> Result<(), Code> {
        let bit = 1_u8 << (kind & 3);
        if self.0.fetch_or(bit, Ordering::Relaxed) & bit == 0 { Ok(()) } else { Err(Code::StreamCreation) }
    }
}

/// Reads one of them to its end.
///
/// # Errors
/// Why the connection must end.
pub(super) async fn read(stream: RecvStream, claimed: &Claimed, credit: &Credit) -> Result<(), Code> {
    let mut reader = Reader::new(stream);
    let Ok(Some(kind)) = reader.integer().await else { return Ok(()) };
    if kind <= DECODER {
        claimed.claim(kind)?;
    }
    let ended = match kind {
        CONTROL => control(&mut reader, credit).await,
        PUSH => Err(Fault::Connection(Code::StreamCreation)),
        ENCODER => instructions(&mut reader, credit, Code::EncoderStream, is_idle_encoder).await,
        DECODER => instructions(&mut reader, credit, Code::DecoderStream, is_idle_decoder).await,
        _ => {
            reader.stop(Code::StreamCreation);
            return if credit.frame() { Ok(()) } else { Err(Code::ExcessiveLoad) };
        }
    };
    Err(match ended {
        Err(Fault::Connection(code)) => code,
        // RFC 9114 section 6.2.1. When the connection is gone, nobody hears it.
        Ok(()) | Err(Fault::Gone | Fault::TooLarge) => Code::ClosedCritical,
    })
}

async fn control(reader: &mut Reader, credit: &Credit) -> Result<(), Fault> {
    let broken = |code| Err(Fault::Connection(code));
    match reader.frame_head().await? {
        Some((wire::SETTINGS, length)) if length <= SETTINGS_BYTES_MAX => check_settings(&small(reader, length).await?)?,
        Some((wire::SETTINGS, _)) => return broken(Code::ExcessiveLoad),
        Some(_) => return broken(Code::MissingSettings),
        None => return Ok(()),
    }
    let mut push_max = 0;
    while let Some((kind, length)) = reader.frame_head().await? {
        if !credit.frame() {
            return broken(Code::ExcessiveLoad);
        }
        match kind {
            wire::MAX_PUSH_ID | wire::GOAWAY if length > 8 => return broken(Code::Frame),
            // What a client will not take pushes beyond: none are sent.
            wire::GOAWAY => drop(identifier(&small(reader, length).await?)?),
            wire::MAX_PUSH_ID => {
                let id = identifier(&small(reader, length).await?)?;
                if id < push_max {
                    return broken(Code::Id);
                }
                push_max = id;
            }
            // No push was promised that could be called off.
            wire::CANCEL_PUSH => return broken(Code::Id),
            wire::DATA | wire::HEADERS | wire::SETTINGS | wire::PUSH_PROMISE => return broken(Code::FrameUnexpected),
            _ if wire::is_of_http2(kind) => return broken(Code::FrameUnexpected),
            _ => reader.skip(length).await?,
        }
    }
    Ok(())
}

async fn small(reader: &mut Reader, length: u64) -> Result<Bytes, Fault> {
    reader.whole(usize::try_from(length).map_err(|_| Fault::Connection(Code::Frame))?).await
}

/// A payload that is one integer.
fn identifier(payload: &[u8]) -> Result<u64, Fault> {
    wire::varint(payload).filter(|(_, used)| *used == payload.len()).map(|(id, _)| id).ok_or(Fault::Connection(Code::Frame))
}

fn check_settings(mut payload: &[u8]) -> Result<(), Fault> {
    let mut seen = Vec::new();
    while !payload.is_empty() {
        let pair = wire::varint(payload).and_then(|(id, used)| {
            let (_, more) = wire::varint(payload.get(used..)?)?;
            Some((id, used + more))
        });
        let (id, used) = pair.ok_or(Fault::Connection(Code::Frame))?;
        // RFC 9114 section 7.2.4.1: those of HTTP/2 are none, and nothing stands twice.
        if matches!(id, 2..=5) || seen.contains(&id) {
            return Err(Fault::Connection(Code::Settings));
        }
        seen.push(id);
        payload = payload.get(used..).unwrap_or_default();
    }
    Ok(())
}

/// Reads instructions of which each byte is judged by itself; `is_inside` says that it goes on with the number before it.
async fn instructions(reader: &mut Reader, credit: &Credit, wrong: Code, judge: fn(u8, &mut bool) -> bool) -> Result<(), Fault> {
    let mut is_inside = false;
    while let Some(bytes) = reader.some().await? {
        for byte in bytes {
            if !is_inside && !credit.frame() {
                return Err(Fault::Connection(Code::ExcessiveLoad));
            }
            if !judge(byte, &mut is_inside) {
                return Err(Fault::Connection(wrong));
            }
        }
    }
    Ok(())
}

/// Without a table an encoder can say one thing: that its capacity is zero (RFC 9204 section 4.3.1).
const fn is_idle_encoder(byte: u8, _is_inside: &mut bool) -> bool {
    byte == 0x20
}

/// Without a table a decoder can say one thing: that it gave a stream up (RFC 9204 section 4.4.2).
const fn is_idle_decoder(byte: u8, is_inside: &mut bool) -> bool {
    if *is_inside {
        *is_inside = byte & 0x80 != 0;
        return true;
    }
    *is_inside = byte & 0x3f == 0x3f;
    byte & 0xc0 == 0x40
}

#[cfg(test)]
mod tests;
