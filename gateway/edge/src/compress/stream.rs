//! A body that is compressed while it streams.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use super::Coder;
use crate::body::BodyError;

/// Input that is compressed between two looks at anything else on this core: about 1 ms of brotli.
const PIECE_BYTES_MAX: usize = 32 << 10;
/// Output that is passed on at once; less waits for more input, as long as there is some.
const OUTPUT_BYTES_MIN: usize = 8 << 10;

/// What a poll of a body brings.
type Polled = Poll<Option<Result<Frame<Bytes>, BodyError>>>;

/// A compressed body over any other.
#[derive(Debug)]
pub struct Compressed<B> {
    inner: B,
    coder: Option<Coder>,
    /// Came from the inner body, is not compressed yet.
    input: Bytes,
    /// Came out, and waits for more.
    output: Vec<u8>,
    /// Went in since the last flush.
    is_dirty: bool,
    trailers: Option<HeaderMap>,
}

impl<B: Body<Data = Bytes, Error = BodyError> + Unpin> Compressed<B> {
    /// Compresses `inner`.
    pub fn new(inner: B, coder: Coder) -> Self {
        Self { inner, coder: Some(coder), input: Bytes::new(), output: Vec::new(), is_dirty: false, trailers: None }
    }

    /// Compresses one piece of what is at hand.
    fn work(&mut self) -> Result<(), BodyError> {
        let Some(coder) = &mut self.coder else { return Err(BodyError::Broken) };
        let piece = self.input.split_to(self.input.len().min(PIECE_BYTES_MAX));
        coder.write(&piece).map_err(|_| BodyError::Broken)?;
        self.is_dirty = true;
        self.output.extend_from_slice(&coder.take());
        Ok(())
    }

    /// Makes everything that went in readable.
    fn flush(&mut self) -> Result<(), BodyError> {
        let Some(coder) = &mut self.coder else { return Ok(()) };
        coder.flush().map_err(|_| BodyError::Broken)?;
        self.is_dirty = false;
        self.output.extend_from_slice(&coder.take());
        Ok(())
    }

    fn finish(&mut self) -> Result<(), BodyError> {
        let Some(coder) = self.coder.take() else { return Ok(()) };
        self.output.extend_from_slice(&coder.finish().map_err(|_| BodyError::Broken)?);
        self.is_dirty = false;
        Ok(())
    }

    fn output(&mut self) -> Polled {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(std::mem::take(&mut self.output))))))
    }

    fn step(&mut self, cx: &mut Context<'_>) -> Result<Polled, BodyError> {
        loop {
            if self.output.len() >= OUTPUT_BYTES_MIN {
                return Ok(self.output());
            }
            if !self.input.is_empty() {
                self.work()?;
                if self.input.is_empty() {
                    continue;
                }
                // Much at once that compresses well: others on this core have their turn.
                cx.waker().wake_by_ref();
                return Ok(if self.output.is_empty() { Poll::Pending } else { self.output() });
            }
            if self.coder.is_none() {
                if !self.output.is_empty() {
                    return Ok(self.output());
                }
                return Ok(Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers)))));
            }
            match Pin::new(&mut self.inner).poll_frame(cx) {
                Poll::Pending if self.is_dirty => {
                    self.flush()?;
                    if !self.output.is_empty() {
                        return Ok(self.output());
                    }
                }
                Poll::Pending if !self.output.is_empty() => return Ok(self.output()),
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(None) => self.finish()?,
                Poll::Ready(Some(Err(error))) => return Err(error),
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => self.input = data,
                    Err(frame) => {
                        self.trailers = frame.into_trailers().ok();
                        self.finish()?;
                    }
                },
            }
        }
    }
}

impl<B: Body<Data = Bytes, Error = BodyError> + Unpin> Body for Compressed<B> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        match self.step(cx) {
            Ok(polled) => polled,
            Err(error) => {
                // What has come out so far is worthless without its end, and the client must see that it broke off.
                self.coder = None;
                self.input = Bytes::new();
                self.output = Vec::new();
                Poll::Ready(Some(Err(error)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.coder.is_none() && self.output.is_empty() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
