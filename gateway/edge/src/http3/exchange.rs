//! One request over its stream, from its head to the last byte of its answer.

use std::{future::Future, pin::pin, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header, request::Parts};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use model::{
    problem::{Denial, ProblemKind},
    time::UtcMicros,
};
use quinn::{RecvStream, SendStream};

use super::{
    body::Body,
    code::Code,
    credit::Credit,
    head::{self, Refusal},
    qpack,
    wire::{self, Fault, Frames, Piece, Reader},
};
use crate::{
    accept::{self, record},
    body::ReplyBody,
    cache::policy,
    grpc::Form,
    intake::Intake,
    refuse,
    runtime::Core,
    serve,
    tls::{Peer, Protocol},
    watch::{Watch, WatchedBody},
};

/// What the requests of one connection share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) core: Arc<Core>,
    pub(super) peer: Arc<Peer>,
    pub(super) watch: Arc<Watch>,
    pub(super) connection: quinn::Connection,
    pub(super) credit: Arc<Credit>,
}

/// How a request's stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The client has the whole answer.
    Whole,
    /// The client gave it up.
    GivenUp,
    /// The gateway did.
    Cut,
}

/// Serves one request.
///
/// # Cancel
/// The stream is reset, and the request recorded as aborted.
pub(super) async fn run(shared: Arc<Shared>, send: SendStream, receive: RecvStream) -> End {
    let core = &shared.core;
    let settings = &core.edge.settings;
    let section_max = usize::try_from(settings.head_bytes_max).unwrap_or(usize::MAX);
    let answer = Answer::new(send);
    let mut frames = Frames::new(Reader::new(receive), Arc::clone(&shared.credit), section_max);
    let Some(first) = core.within(settings.head_timeout, std::future::poll_fn(|cx| frames.poll_next(cx))).await else {
        core.counters.stalled();
        frames.stop(Code::RequestIncomplete);
        return answer.cut(Code::RequestIncomplete);
    };
    let section = match first {
        Ok(Piece::Fields(section)) => section,
        // Nothing but a head comes first.
        Ok(Piece::Data(_) | Piece::End) => return answer.cut(Code::RequestIncomplete),
        Err(Fault::Gone) => return End::GivenUp,
        Err(Fault::TooLarge) => return shared.refuse(answer, Refusal::TooLarge).await,
        Err(Fault::Connection(why)) => return shared.close(why),
    };
    let parts = match head::request(&section, section_max) {
        Ok(parts) => parts,
        Err(Refusal::Unreadable) => return shared.close(Code::Decompression),
        Err(refusal) => return shared.refuse(answer, refusal).await,
    };
    drop(section);
    core.counters.http3_request();
    let mut body = Body::new(frames, shared.connection.clone(), &parts.headers, section_max);
    match core.within(settings.head_timeout, body.look_ahead(is_body_expected(&parts))).await {
        Some(Ok(())) => {}
        Some(Err(why)) => return shared.close(why),
        None => {
            core.counters.stalled();
            return answer.cut(Code::RequestIncomplete);
        }
    }

    let in_flight = shared.watch.enter(Protocol::Http3);
    let is_head = parts.method == Method::HEAD;
    let peer = accept::client(&core.edge, &shared.peer, &parts.headers);
    // Boxed, the future and the head as well: they are large, and moved several times.
    let served = Box::pin(serve::handle(Arc::clone(core), peer, Box::new(parts), Intake::over_http3(body)));
    let Some(Ok(response)) = answer.unless_stopped(served).await else { return End::GivenUp };
    let (parts, body) = response.into_parts();
    answer.send(parts, WatchedBody::new(body, in_flight), is_head, core.edge.clock.wall()).await
}

/// Whether the end of a request need not come with its head.
fn is_body_expected(parts: &Parts) -> bool {
    match parts.headers.get(header::CONTENT_LENGTH) {
        Some(length) => length.as_bytes() != b"0",
        None => !matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS | Method::DELETE | Method::TRACE),
    }
}

impl Shared {
    /// Ends the connection.
    pub(super) fn close(&self, code: Code) -> End {
        tracing::debug!(?code, "an HTTP/3 client breaks the protocol");
        self.connection.close(code.wire(), b"");
        End::Cut
    }

    /// Answers a head that could not be read as a request, and records it.
    async fn refuse(&self, answer: Answer, refusal: Refusal) -> End {
        let denial = match refusal {
            Refusal::Malformed(why) => Denial::new(ProblemKind::RequestMalformed, why),
            Refusal::TooLarge | Refusal::Unreadable => Denial::new(ProblemKind::HeadersTooLarge, "the request's head is too large"),
        };
        let id = self.core.uuid(self.core.edge.clock.now());
        record::unread(&self.core, &self.peer, denial.kind, id);
        let response: Response<ReplyBody> = refuse::response(Form::Problem, &denial, &id.to_string(), &self.core.edge.region, |_| {});
        let (parts, body) = response.into_parts();
        let in_flight = self.watch.enter(Protocol::Http3);
        answer.send(parts, WatchedBody::new(body, in_flight), false, self.core.edge.clock.wall()).await
    }
}

/// The gateway's part of a stream. Dropping it before the end resets the stream: QUIC's library would end it in order, and half
/// an answer would look like a whole one.
#[derive(Debug)]
struct Answer {
    stream: SendStream,
    is_over: bool,
}

impl Answer {
    const fn new(stream: SendStream) -> Self {
        Self { stream, is_over: false }
    }

    fn cut(mut self, code: Code) -> End {
        self.reset(code);
        End::Cut
    }

    fn reset(&mut self, code: Code) {
        if !self.is_over {
            self.is_over = true;
            self.stream.reset(code.wire()).ok();
        }
    }

    /// Waits for something for as long as the client wants an answer.
    async fn unless_stopped<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let mut stopped = pin!(self.stream.stopped());
        tokio::select! {
            biased;
            output = future => Some(output),
            _stopped = &mut stopped => None,
        }
    }

    /// Sends a response to its end, and waits until the client has all of it.
    async fn send(mut self, mut parts: http::response::Parts, mut body: WatchedBody, is_head: bool, now: UtcMicros) -> End {
        complete(&mut parts.headers, parts.status, &body, is_head, now);
        if self.section(&qpack::write(Some(parts.status), &parts.headers)).await.is_err() {
            return End::GivenUp;
        }
        while !body.is_end_stream() {
            let Some(frame) = self.unless_stopped(body.frame()).await else { return End::GivenUp };
            let sent = match frame.map(|frame| frame.map(hyper::body::Frame::into_data)) {
                None => break,
                Some(Err(_)) => return self.cut(Code::Internal),
                Some(Ok(Ok(data))) if data.is_empty() => Ok(()),
                Some(Ok(Ok(data))) => self.stream.write_all_chunks(&mut [wire::frame_head(wire::DATA, data.len()), data]).await,
                Some(Ok(Err(frame))) => match frame.into_trailers() {
                    Ok(trailers) => self.section(&qpack::write(None, &trailers)).await,
                    Err(_unknown) => Ok(()),
                },
            };
            if sent.is_err() {
                return End::GivenUp;
            }
        }
        drop(body);
        self.is_over = true;
        self.stream.finish().ok();
        match self.stream.stopped().await {
            Ok(None) => End::Whole,
            Ok(Some(_)) | Err(_) => End::GivenUp,
        }
    }

    async fn section(&mut self, section: &Bytes) -> Result<(), quinn::WriteError> {
        self.stream.write_all_chunks(&mut [wire::frame_head(wire::HEADERS, section.len()), section.clone()]).await
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.reset(Code::Internal);
    }
}

/// Adds what the codecs of the other versions add by themselves.
fn complete(headers: &mut HeaderMap, status: StatusCode, body: &WatchedBody, is_head: bool, now: UtcMicros) {
    let has_body = !is_head && !body.is_end_stream() && !status.is_informational() && status != StatusCode::NO_CONTENT;
    if let Some(length) = body.size_hint().exact().filter(|_| has_body) {
        headers.entry(header::CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
    }
    if !headers.contains_key(header::DATE)
        && let Some(date) = policy::date_text(now)
    {
        headers.insert(header::DATE, date);
    }
}
