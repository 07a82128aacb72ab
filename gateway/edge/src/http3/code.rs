//! Why a stream or a connection ends (RFC 9114 section 8.1, RFC 9204 section 6).

use quinn::VarInt;

/// An error code of HTTP/3 or of QPACK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    /// Nothing is wrong.
    NoError = 0x100,
    /// The gateway failed.
    Internal = 0x102,
    /// A stream of a kind that the client may not open, or not twice.
    StreamCreation = 0x103,
    /// A stream ended that lives as long as its connection.
    ClosedCritical = 0x104,
    /// A frame where it has no place.
    FrameUnexpected = 0x105,
    /// A frame that is cut off, or too long for what it holds.
    Frame = 0x106,
    /// Too much of what moves nothing.
    ExcessiveLoad = 0x107,
    /// An identifier that goes the wrong way, or that nobody gave.
    Id = 0x108,
    /// A setting that is none, or stands twice.
    Settings = 0x109,
    /// The control stream does not begin with settings.
    MissingSettings = 0x10a,
    /// Nothing was done with the request.
    RequestRejected = 0x10b,
    /// The request ended before its head did, or took too long for it.
    RequestIncomplete = 0x10d,
    /// A message that is malformed.
    Message = 0x10e,
    /// A field section that cannot be read.
    Decompression = 0x200,
    /// Something on the encoder's stream although there is no dynamic table.
    EncoderStream = 0x201,
    /// Something on the decoder's stream that answers nothing.
    DecoderStream = 0x202,
}

impl Code {
    /// As QUIC carries it.
    pub(super) const fn wire(self) -> VarInt {
        VarInt::from_u32(self as u32)
    }
}
