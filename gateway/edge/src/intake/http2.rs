//! A body over HTTP/2 that may be given up.
//!
//! A body that nobody reads is given up by a reset of its stream (RFC 9113 section 8.1). Some clients that are still sending lose the
//! answer when the reset comes with it; so what they send is dropped for a moment first.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};

/// How much is dropped before the stream is reset...
const LINGER_BYTES_MAX: usize = 1 << 20;
/// ... and for how long, from when nobody wants it any more. The answer leaves within this time as a rule.
const LINGERS: Duration = Duration::from_secs(1);

/// The body of one stream.
#[derive(Debug)]
pub(super) struct Lingering {
    /// `None` only while it is dropped.
    inner: Option<Incoming>,
}

impl Drop for Lingering {
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

impl Lingering {
    pub(super) const fn new(inner: Incoming) -> Self {
        Self { inner: Some(inner) }
    }
}

impl Body for Lingering {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.inner.as_mut().map_or(Poll::Ready(None), |inner| Pin::new(inner).poll_frame(cx))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}
