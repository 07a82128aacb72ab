//! One way to feed three codings: bytes go in, compressed bytes come out, and a flush lets nothing be held back.

use std::io::{self, Write};

use brotli::CompressorWriter;
use bytes::Bytes;
use flate2::{Compression as Level, write::GzEncoder};
use model::filter::CodingDoc;

/// 6 is what everybody uses: level 9 gains 1 % for twice the time.
const GZIP_LEVEL: u32 = 6;
/// 4 compresses like gzip's best at a third of its time; 11, the default for files, takes a hundred times as long.
const BROTLI_QUALITY: u32 = 4;
/// zstd's own default.
const ZSTD_LEVEL: i32 = 3;
/// Windows of 256 KiB: a response costs its sender about 1 MiB, and a client no more than that.
const WINDOW_LOG: u32 = 18;
/// What brotli collects before it writes on.
const BROTLI_BUFFER_BYTES: usize = 8 << 10;

/// A running compression.
pub enum Coder {
    /// gzip.
    Gzip(GzEncoder<Vec<u8>>),
    /// brotli.
    Brotli(Box<CompressorWriter<Vec<u8>>>),
    /// zstd.
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl std::fmt::Debug for Coder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Gzip(_) => "Gzip",
            Self::Brotli(_) => "Brotli",
            Self::Zstd(_) => "Zstd",
        })
    }
}

impl Coder {
    /// A compression with nothing in it; `None` when its memory cannot be had.
    pub fn new(coding: CodingDoc) -> Option<Self> {
        Some(match coding {
            CodingDoc::Gzip => Self::Gzip(GzEncoder::new(Vec::new(), Level::new(GZIP_LEVEL))),
            CodingDoc::Br => Self::Brotli(Box::new(CompressorWriter::new(Vec::new(), BROTLI_BUFFER_BYTES, BROTLI_QUALITY, WINDOW_LOG))),
            CodingDoc::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL).ok()?;
                encoder.window_log(WINDOW_LOG).ok()?;
                Self::Zstd(encoder)
            }
        })
    }

    /// Takes bytes in.
    ///
    /// # Errors
    /// When the coding fails; the stream is then broken.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Gzip(encoder) => encoder.write_all(bytes),
            Self::Brotli(encoder) => encoder.write_all(bytes),
            Self::Zstd(encoder) => encoder.write_all(bytes),
        }
    }

    /// Makes everything that was taken in readable for the other side.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Gzip(encoder) => encoder.flush(),
            Self::Brotli(encoder) => encoder.flush(),
            Self::Zstd(encoder) => encoder.flush(),
        }
    }

    /// What has come out since the last call; may be empty.
    pub fn take(&mut self) -> Bytes {
        let out = match self {
            Self::Gzip(encoder) => encoder.get_mut(),
            Self::Brotli(encoder) => encoder.get_mut(),
            Self::Zstd(encoder) => encoder.get_mut(),
        };
        Bytes::from(std::mem::take(out))
    }

    /// Ends the coding; the rest comes out.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub fn finish(self) -> io::Result<Bytes> {
        Ok(Bytes::from(match self {
            Self::Gzip(encoder) => encoder.finish()?,
            Self::Brotli(encoder) => encoder.into_inner(),
            Self::Zstd(encoder) => encoder.finish()?,
        }))
    }
}

/// Compresses a body that is at hand.
pub(super) fn whole(coding: CodingDoc, bytes: &[u8]) -> Option<Bytes> {
    let mut coder = Coder::new(coding)?;
    coder.write(bytes).ok()?;
    coder.finish().ok()
}
