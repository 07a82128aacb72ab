use std::{
    future::poll_fn,
    io::IoSlice,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use proptest::prelude::*;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};

use super::Coalesced;

/// Counts writes.
struct Counted(DuplexStream, Arc<AtomicUsize>);

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        self.1.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

fn counted(buffer: usize) -> (Coalesced<Counted>, DuplexStream, Arc<AtomicUsize>) {
    let (near, far) = tokio::io::duplex(buffer);
    let writes = Arc::new(AtomicUsize::new(0));
    (Coalesced::new(Counted(near, Arc::clone(&writes))), far, writes)
}

#[tokio::test]
async fn small_writes_of_two_turns_leave_together_and_none_waits_for_a_third() {
    let (mut stream, mut far, writes) = counted(1 << 20);
    let mut turn = 0;
    // As the codec does it: read until nothing comes, write, flush; the flush of the first turn asks for a second one.
    poll_fn(|cx| {
        turn += 1;
        let mut byte = [0];
        assert!(Pin::new(&mut stream).poll_read(cx, &mut ReadBuf::new(&mut byte)).is_pending());
        if turn <= 2 {
            for _ in 0..10 {
                assert!(Pin::new(&mut stream).poll_write(cx, b"0123456789").is_ready());
            }
        }
        assert!(Pin::new(&mut stream).poll_flush(cx).is_ready());
        if turn == 2 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;

    assert_eq!(writes.load(Ordering::Relaxed), 1);
    let mut got = [0; 200];
    far.read_exact(&mut got).await.unwrap();
}

#[tokio::test]
async fn flush_that_was_put_off_is_made_by_reading_when_nobody_flushes_again() {
    let (mut stream, mut far, _) = counted(1 << 20);
    let mut turn = 0;
    poll_fn(|cx| {
        turn += 1;
        let mut byte = [0];
        assert!(Pin::new(&mut stream).poll_read(cx, &mut ReadBuf::new(&mut byte)).is_pending());
        if turn == 1 {
            assert!(Pin::new(&mut stream).poll_write(cx, b"late").is_ready());
            assert!(Pin::new(&mut stream).poll_flush(cx).is_ready());
        }
        if turn == 3 {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;

    let mut got = [0; 4];
    far.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"late");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is written in whatever pieces, through whatever narrow pipe, comes out in order.
    #[test]
    fn bytes_keep_their_order(sizes in proptest::collection::vec(0_usize..20_000, 1..40), buffer in 1_usize..100_000, flushes: u64) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (mut stream, mut far, _) = counted(buffer);
        let whole: Vec<u8> = (0..sizes.iter().sum::<usize>()).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let expected = whole.clone();
        let got = runtime.block_on(async move {
            let writes = async move {
                let mut rest = whole.as_slice();
                for (index, size) in sizes.into_iter().enumerate() {
                    let (mut piece, after) = rest.split_at(size);
                    rest = after;
                    while !piece.is_empty() {
                        let (head, data) = piece.split_at(piece.len().min(9));
                        let count = poll_fn(|cx| Pin::new(&mut stream).poll_write_vectored(cx, &[IoSlice::new(head), IoSlice::new(data)])).await;
                        piece = &piece[count.unwrap()..];
                    }
                    if flushes >> (index % 64) & 1 == 1 {
                        stream.flush().await.unwrap();
                    }
                }
                stream.shutdown().await.unwrap();
            };
            let mut got = Vec::new();
            let ((), read) = tokio::join!(writes, far.read_to_end(&mut got));
            read.unwrap();
            got
        });
        prop_assert_eq!(got, expected);
    }
}
