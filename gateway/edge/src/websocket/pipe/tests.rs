use std::future::poll_fn;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;

/// A pipe between two ends that a test holds.
struct Stand {
    pipe: Pipe,
    from: DuplexStream,
    to: DuplexStream,
    buffer: Vec<u8>,
}

impl Stand {
    /// `room` is how much the receiver takes unread.
    fn new(room: usize) -> (Self, DuplexStream, DuplexStream) {
        let (sender, from) = duplex(1 << 20);
        let (to, receiver) = duplex(room);
        (Self { pipe: Pipe::default(), from, to, buffer: vec![0; 1 << 10] }, sender, receiver)
    }

    /// One turn.
    async fn turn(&mut self) -> Poll<Result<(), Failed>> {
        // Or the runtime's budget for one turn of a task would look like a stream that has nothing.
        tokio::task::yield_now().await;
        let Self { pipe, from, to, buffer } = self;
        poll_fn(|cx| Poll::Ready(pipe.poll(cx, from, to, buffer))).await
    }

    async fn turns(&mut self, n: usize) -> Poll<Result<(), Failed>> {
        let mut last = self.turn().await;
        for _ in 1..n {
            last = self.turn().await;
        }
        last
    }
}

#[tokio::test]
async fn what_comes_goes_on_and_an_end_is_told() {
    let (mut stand, mut sender, mut receiver) = Stand::new(1 << 20);
    stand.pipe.begin(b"early ");

    sender.write_all(b"and late").await.unwrap();
    assert!(stand.turn().await.is_pending());
    assert_eq!(stand.pipe.turn(), Turn { has_moved: true, is_blocked: false });
    assert!(stand.turn().await.is_pending());
    assert_eq!(stand.pipe.turn(), Turn { has_moved: false, is_blocked: false });
    drop(sender);
    assert_eq!(stand.turn().await, Poll::Ready(Ok(())));

    let mut all = Vec::new();
    drop(stand.to);
    receiver.read_to_end(&mut all).await.unwrap();
    assert_eq!((all.as_slice(), stand.pipe.bytes()), (&b"early and late"[..], 14));
}

/// The receiver's pace is the sender's: beyond one buffer nothing is read.
#[tokio::test]
async fn a_receiver_that_does_not_read_stops_the_sender_and_no_byte_is_lost() {
    let (mut stand, mut sender, mut receiver) = Stand::new(100);
    let sent: Vec<u8> = (0..100_000_u32).flat_map(|n| u8::try_from(n % 251)).collect();
    sender.write_all(&sent).await.unwrap();

    assert!(stand.turns(20).await.is_pending());
    assert!(stand.pipe.turn().is_blocked);
    let held = stand.pipe.bytes();
    assert!(held <= 100 + (1 << 10), "{held} bytes were read for a receiver with room for 100");

    let mut got = Vec::new();
    while got.len() < sent.len() {
        assert!(stand.turn().await.is_pending());
        receiver.read_buf(&mut got).await.unwrap();
    }
    assert_eq!(got, sent);
    assert!(stand.turn().await.is_pending() && !stand.pipe.turn().is_blocked);
    assert_eq!(stand.pipe.kept.capacity(), 0, "an idle direction holds no memory");
}

#[tokio::test]
async fn failures_tell_which_end_it_was() {
    let (mut stand, mut sender, receiver) = Stand::new(100);
    drop(receiver);
    sender.write_all(b"for nobody").await.unwrap();

    assert_eq!(stand.turn().await, Poll::Ready(Err(Failed::Receiver)));
}

/// A frame that has begun is passed on to its end; then the last word comes, and nothing of the sender's behind it.
#[tokio::test]
async fn the_last_word_stands_between_two_frames() {
    let text = [&[0x81, 10][..], b"0123456789"].concat();
    let mine = super::super::frames::close(1001, None);
    for begun in 0..=text.len() {
        let (mut stand, mut sender, mut receiver) = Stand::new(1 << 20);
        let (first, rest) = text.split_at(begun);
        sender.write_all(first).await.unwrap();
        assert!(stand.turn().await.is_pending());

        stand.pipe.end_with(mine.clone());
        sender.write_all(&[rest, &text, &text].concat()).await.unwrap();
        assert!(stand.turns(4).await.is_pending());
        drop(sender);
        assert_eq!(stand.turn().await, Poll::Ready(Ok(())), "what the sender still says is dropped, to its end");

        let mut all = Vec::new();
        drop(stand.to);
        receiver.read_to_end(&mut all).await.unwrap();
        let expected = if begun == 0 { mine.clone() } else { [text.clone(), mine.clone()].concat() };
        assert_eq!(all, expected, "{begun} bytes had passed");
    }
}

#[tokio::test]
async fn no_last_word_follows_a_close_frame_of_the_sender() {
    let (mut stand, mut sender, mut receiver) = Stand::new(1 << 20);
    let theirs = super::super::frames::close(1000, Some([1, 2, 3, 4]));
    sender.write_all(&theirs).await.unwrap();
    assert!(stand.turn().await.is_pending() && stand.pipe.has_ended());

    stand.pipe.end_with(super::super::frames::close(1001, None));
    drop(sender);
    assert_eq!(stand.turns(2).await, Poll::Ready(Ok(())));

    let mut all = Vec::new();
    drop(stand.to);
    receiver.read_to_end(&mut all).await.unwrap();
    assert_eq!(all, theirs);
}
