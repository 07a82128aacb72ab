//! Large reads and writes of TLS streams, cut into small pieces.
//!
//! TLS copies what it encrypts and what it has decrypted. The C library copies 4 KiB and more with one string instruction (`rep movsb`), which was far slower
//! than its own loop of vector moves on the machine that this was measured on (AMD EPYC, virtual): a response of 1 MiB cost 1,746 us
//! with it and 1,030 us without. In smaller pieces the loop is used everywhere; the records on the wire stay as large as they were.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncBufRead, ReadBuf};

/// The largest piece, in bytes.
pub(crate) const PIECE_BYTES: usize = 2 << 10;
/// Pieces of one write: 64 KiB, which is what the TLS layer takes at once.
const PIECES_MAX: usize = 34;
/// A write that is not worth cutting.
const UNCUT_BYTES_MAX: usize = 4_095;

/// The pieces of one write.
#[derive(Debug)]
pub struct Pieces<'b> {
    list: [IoSlice<'b>; PIECES_MAX],
    len: usize,
}

impl<'b> Pieces<'b> {
    /// Cuts buffers, as many as there are places for; `None` when none of them is large.
    pub fn of(bufs: &'b [IoSlice<'b>]) -> Option<Self> {
        if bufs.iter().all(|buf| buf.len() <= UNCUT_BYTES_MAX) {
            return None;
        }
        let mut list = [IoSlice::new(&[]); PIECES_MAX];
        let pieces = bufs.iter().flat_map(|buf| buf.chunks(PIECE_BYTES));
        let len = list.iter_mut().zip(pieces).map(|(place, piece)| *place = IoSlice::new(piece)).count();
        Some(Self { list, len })
    }

    /// The pieces, in order.
    pub fn as_slice(&self) -> &[IoSlice<'b>] {
        self.list.get(..self.len).unwrap_or_default()
    }
}

/// Reads what the stream has at hand, or more of it.
pub fn poll_read<S: AsyncBufRead + Unpin>(stream: &mut S, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
    let data = ready!(Pin::new(&mut *stream).poll_fill_buf(cx))?;
    let data = data.get(..buf.remaining()).unwrap_or(data);
    data.chunks(PIECE_BYTES).for_each(|piece| buf.put_slice(piece));
    let length = data.len();
    Pin::new(stream).consume(length);
    Poll::Ready(Ok(()))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncRead, AsyncReadExt, BufReader};

    use super::*;

    /// Reads through [`poll_read`].
    struct Through<S>(S);

    impl<S: AsyncBufRead + Unpin> AsyncRead for Through<S> {
        fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            poll_read(&mut self.0, cx, buf)
        }
    }

    #[tokio::test]
    async fn everything_is_read_once_and_then_the_end() {
        let data: Vec<u8> = (0..50_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        for size in [1, 100, 2_048, 9_000, 100_000] {
            let mut reader = Through(BufReader::with_capacity(16_384, &data[..]));
            let (mut read, mut buf) = (Vec::new(), vec![0; size]);
            loop {
                match reader.read(&mut buf).await.unwrap() {
                    0 => break,
                    count => read.extend_from_slice(&buf[..count]),
                }
            }
            assert_eq!(read, data, "{size}");
        }
    }

    fn joined(bufs: &[IoSlice<'_>]) -> Option<Vec<u8>> {
        Pieces::of(bufs).map(|pieces| pieces.as_slice().iter().flat_map(|piece| piece.iter().copied()).collect())
    }

    #[test]
    fn pieces_are_the_beginning_of_the_whole_in_order() {
        let data: Vec<u8> = (0..200_000_u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
        for sizes in [&[9, 16_384][..], &[4_096], &[5_000, 3, 70_000], &[100_000, 100_000], &[1, 4_095, 4_096]] {
            let mut rest = &data[..];
            let bufs: Vec<IoSlice<'_>> = sizes
                .iter()
                .map(|size| {
                    let (buf, behind) = rest.split_at(*size);
                    rest = behind;
                    IoSlice::new(buf)
                })
                .collect();
            let cut = joined(&bufs).unwrap();
            let total: usize = sizes.iter().sum();
            assert!(cut.len() == total || cut.len() >= 60 << 10, "{sizes:?}: {}", cut.len());
            assert_eq!(cut, data[..cut.len()], "{sizes:?}");
        }
    }

    #[test]
    fn no_piece_is_large_and_small_writes_stay_as_they_are() {
        let data = vec![0; 50_000];
        let bufs = [IoSlice::new(&data)];
        assert!(Pieces::of(&bufs).unwrap().as_slice().iter().all(|piece| piece.len() <= PIECE_BYTES));
        assert_eq!(joined(&[IoSlice::new(&data[..4_095]), IoSlice::new(&data[..9])]), None);
        assert_eq!(joined(&[]), None);
    }
}
