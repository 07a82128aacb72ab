//! A body over HTTP/2.
//!
//! Its last announced byte is given only once the stream has ended. A stream that goes on behind it is malformed (RFC 9113 section
//! 8.1.1), and who passed the byte on would have made a whole request for the service out of one that is none.
//!
//! A body that nobody reads is given up by a reset of its stream (section 8.1). Some clients that are still sending lose the answer when
//! the reset comes with it; so what they send is dropped for a moment first.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use crate::body::BodyError;

/// How much is dropped before the stream is reset...
const LINGER_BYTES_MAX: usize = 1 << 20;
/// ... and for how long, from when nobody wants it any more. The answer leaves within this time as a rule.
const LINGERS: Duration = Duration::from_secs(1);

/// The body of one stream.
#[derive(Debug)]
pub(super) struct StreamBody {
    /// `None` only while it is dropped.
    inner: Option<Incoming>,
    /// The piece with the last announced byte, while the end is not known.
    held: Option<Bytes>,
    /// Trailers that came behind it.
    trailers: Option<Frame<Bytes>>,
}

impl Drop for StreamBody {
    fn drop(&mut self) {
        let Some(inner) = self.inner.take().filter(|inner| !inner.is_end_stream()) else { return };
        // Without a runtime the connection is gone, too.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            drop(runtime.spawn(linger(inner)));
        }
    }
}

/// Drops what a client still sends. It ends at once when the client has reset the stream, or the connection is over.
async fn linger(mut body: Incoming) {
    let drain = async {
        let mut left = LINGER_BYTES_MAX;
        while left > 0
            && let Some(Ok(frame)) = body.frame().await
        {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
        }
    };
    tokio::time::timeout(LINGERS, drain).await.ok();
}

impl StreamBody {
    pub(super) const fn new(inner: Incoming) -> Self {
        Self { inner: Some(inner), held: None, trailers: None }
    }

    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
        if self.held.is_none() {
            if let Some(trailers) = self.trailers.take() {
                return Poll::Ready(Some(Ok(trailers)));
            }
            let frame = match ready!(Pin::new(&mut *inner).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(_)) => return Poll::Ready(Some(Err(BodyError::Broken))),
                None => return Poll::Ready(None),
            };
            let is_last = inner.size_hint().exact() == Some(0) && !inner.is_end_stream();
            match frame.into_data() {
                Ok(data) if is_last => self.held = Some(data),
                Ok(data) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
        // An empty frame of data may carry the end.
        while !inner.is_end_stream() {
            match ready!(Pin::new(&mut *inner).poll_frame(cx)).map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) if data.is_empty() => {}
                Some(Ok(Err(trailers))) => {
                    self.trailers = Some(trailers);
                    break;
                }
                None => break,
                Some(Ok(Ok(_)) | Err(_)) => {
                    self.held = None;
                    return Poll::Ready(Some(Err(BodyError::Broken)));
                }
            }
        }
        Poll::Ready(self.held.take().map(|data| Ok(Frame::data(data))))
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.held.is_none() && self.trailers.is_none() && self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        match (&self.held, &self.inner) {
            (Some(held), _) => SizeHint::with_exact(u64::try_from(held.len()).unwrap_or(u64::MAX)),
            (None, Some(inner)) => inner.size_hint(),
            (None, None) => SizeHint::with_exact(0),
        }
    }
}
