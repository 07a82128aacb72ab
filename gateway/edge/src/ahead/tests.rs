use proptest::prelude::*;
use tokio::io::AsyncReadExt;

use super::*;

/// Gives what it has in pieces of these lengths, and counts what it is asked for.
#[derive(Debug)]
struct Source {
    bytes: Vec<u8>,
    pieces: Vec<usize>,
    at: usize,
    asked: Vec<usize>,
    is_pending: bool,
}

impl Source {
    fn of(length: usize, pieces: Vec<usize>) -> Self {
        let bytes = (0..length).map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[1]).collect();
        Self { bytes, pieces, at: 0, asked: Vec::new(), is_pending: false }
    }
}

impl AsyncRead for Source {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.is_pending = !self.is_pending;
        if self.is_pending {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let room = buf.remaining();
        self.asked.push(room);
        let piece = self.pieces.pop().unwrap_or(usize::MAX);
        let count = piece.min(room).min(self.bytes.len() - self.at);
        buf.put_slice(&self.bytes[self.at..self.at + count]);
        self.at += count;
        Poll::Ready(Ok(()))
    }
}

/// Reads as the TLS layer does, 4 KiB at a time.
async fn read_all(ahead: &mut Ahead<Source>) -> Vec<u8> {
    let (mut all, mut piece) = (Vec::new(), [0; 4_096]);
    loop {
        match ahead.read(&mut piece).await.unwrap() {
            0 => return all,
            count => all.extend_from_slice(&piece[..count]),
        }
    }
}

#[tokio::test]
async fn filled_read_is_followed_by_large_ones_and_small_messages_are_read_as_they_are_asked_for() {
    let mut ahead = Ahead::new(Source::of(100_000, vec![]));
    let all = read_all(&mut ahead).await;
    assert_eq!(all, ahead.inner.bytes);
    let large = ahead.inner.asked.iter().filter(|asked| **asked >= AHEAD_BYTES).count();
    assert_eq!((ahead.inner.asked[0], large), (4_096, 3), "{:?}", ahead.inner.asked);

    let mut ahead = Ahead::new(Source::of(900, vec![300; 3]));
    assert_eq!(read_all(&mut ahead).await, ahead.inner.bytes);
    assert!(ahead.inner.asked.iter().all(|asked| *asked == 4_096), "{:?}", ahead.inner.asked);
}

#[tokio::test]
async fn idle_stream_holds_nothing_and_what_was_read_ahead_is_known() {
    let mut ahead = Ahead::new(Source::of(4_096 + 5_000, vec![]));
    let mut piece = [0; 4_096];
    assert_eq!(ahead.read(&mut piece).await.unwrap(), 4_096);
    assert!(!ahead.has_stock());
    assert_eq!(ahead.read(&mut piece).await.unwrap(), 4_096);
    assert!(ahead.has_stock());
    assert_eq!(ahead.read(&mut piece).await.unwrap(), 904);
    assert!(!ahead.has_stock());
    assert_eq!(ahead.stock.capacity(), 0);
}

proptest! {
    #[test]
    fn any_pieces_arrive_whole_and_in_order(length in 0_usize..200_000, pieces in proptest::collection::vec(1_usize..50_000, 0..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut ahead = Ahead::new(Source::of(length, pieces));
        let all = runtime.block_on(read_all(&mut ahead));
        prop_assert!(all == ahead.inner.bytes, "{} of {length}", all.len());
    }
}
