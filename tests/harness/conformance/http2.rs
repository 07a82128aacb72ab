//! How a case of HTTP/2 is played, and judged.

mod fields;
mod framing;
mod hpack;
mod messages;
mod seen;
mod settings;
mod streams;

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::target::Target;
use super::{Found, Level, Rule};
use crate::client::Version;
use crate::frames::{DATA, END_HEADERS, END_STREAM, Frames, HEADERS, PING, Wire, block, frame};
use seen::Seen;

/// Error codes (RFC 9113 section 7).
pub(super) mod code {
    pub(crate) const PROTOCOL: u32 = 1;
    pub(crate) const FLOW: u32 = 3;
    pub(crate) const CLOSED: u32 = 5;
    pub(crate) const SIZE: u32 = 6;
    pub(crate) const REFUSED: u32 = 7;
    pub(crate) const COMPRESSION: u32 = 9;
    pub(crate) const CALM: u32 = 11;
}

/// How long a case may take.
const LIMIT: Duration = Duration::from_secs(4);
/// How long after the answer to the last probe an error may still come.
const GRACE: Duration = Duration::from_millis(300);
/// The payload of the PING behind everything that a case sends.
const PROBE: &[u8; 8] = b"probe me";

/// A case.
#[derive(Debug)]
pub struct Case {
    /// What it is about.
    pub rule: Rule,
    preface: Preface,
    send: fn(&Kit<'_>) -> Vec<Step>,
    expect: Expect,
}

/// What a case begins with.
#[derive(Debug, Clone, Copy)]
enum Preface {
    /// The preface with these settings.
    With(&'static [(u16, u32)]),
    /// Nothing: the case sends its own.
    Own,
}

/// What a client does.
#[derive(Debug)]
enum Step {
    Send(Vec<u8>),
    /// Waits until a stream is over.
    Answer(u32),
    /// Waits until so many bytes of a stream's body have come.
    Body(u32, usize),
    /// Waits for the server's own settings.
    Settings,
    /// Opens more streams than the server allows; the case is skipped where it allows any number.
    Crowd,
}

/// What must follow.
#[derive(Debug, Clone, Copy)]
enum Expect {
    /// The connection ends with one of these codes.
    Connection(&'static [u32]),
    /// The stream is reset with one of these codes.
    Stream(u32, &'static [u32]),
    /// The frame came for a stream that is closed: that is an error of the stream or of the connection.
    Closed(u32),
    /// The connection is closed.
    Closes,
    /// The request is malformed: it is reset, or answered with 4xx.
    Refused(u32),
    /// The request is answered with 2xx.
    Served(u32),
    /// The request is served, unless the server took an earlier stream's error for the connection's, as it may.
    ServedUnlessOver(u32),
    /// As this says, once the time is over or the connection ends.
    Judge(fn(&Seen) -> Found),
}

const fn rule(section: &'static str, level: Level, text: &'static str) -> Rule {
    Rule { section, text, level }
}

const fn must(section: &'static str, text: &'static str, send: fn(&Kit<'_>) -> Vec<Step>, expect: Expect) -> Case {
    Case { rule: rule(section, Level::Must, text), preface: Preface::With(&[(1, 0)]), send, expect }
}

const fn should(section: &'static str, text: &'static str, send: fn(&Kit<'_>) -> Vec<Step>, expect: Expect) -> Case {
    Case { rule: rule(section, Level::Should, text), preface: Preface::With(&[(1, 0)]), send, expect }
}

impl Case {
    const fn with(mut self, settings: &'static [(u16, u32)]) -> Self {
        self.preface = Preface::With(settings);
        self
    }

    const fn own_preface(mut self) -> Self {
        self.preface = Preface::Own;
        self
    }
}

/// Every case, by section.
pub fn cases() -> Vec<Case> {
    [framing::cases(), streams::cases(), settings::cases(), messages::cases(), fields::cases(), hpack::cases()].into_iter().flatten().collect()
}

/// Makes a target's requests.
struct Kit<'t>(&'t Target);

impl Kit<'_> {
    /// The pseudo-header fields of a request.
    fn pseudo(&self, method: &str) -> Vec<(String, String)> {
        let own = [(":method", method), (":scheme", "https"), (":authority", &self.0.authority), (":path", &self.0.path)];
        own.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// All fields of a request: pseudo-header fields, what the target needs, and more.
    fn fields(&self, method: &str, more: &[(&str, &str)]) -> Vec<(String, String)> {
        let more = more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        self.pseudo(method).into_iter().chain(self.0.fields.iter().cloned()).chain(more).collect()
    }

    /// The same without one of them.
    fn without(&self, name: &str) -> Vec<u8> {
        encode(&self.fields("GET", &[]).into_iter().filter(|(n, _)| n != name).collect::<Vec<_>>())
    }

    /// The same with another value for one of them.
    fn altered(&self, method: &str, name: &str, value: &str) -> Vec<u8> {
        let change = |(n, v): (String, String)| if n == name { (n, value.to_owned()) } else { (n, v) };
        encode(&self.fields(method, &[]).into_iter().map(change).collect::<Vec<_>>())
    }

    fn block(&self, method: &str, more: &[(&str, &str)]) -> Vec<u8> {
        encode(&self.fields(method, more))
    }

    /// A whole GET.
    fn get(&self, stream: u32) -> Vec<u8> {
        self.get_with(stream, &[])
    }

    fn get_with(&self, stream: u32, more: &[(&str, &str)]) -> Vec<u8> {
        frame(HEADERS, END_HEADERS | END_STREAM, stream, &self.block("GET", more))
    }

    /// The head of a POST, whose body follows.
    fn post(&self, stream: u32) -> Vec<u8> {
        self.post_with(stream, &[])
    }

    fn post_with(&self, stream: u32, more: &[(&str, &str)]) -> Vec<u8> {
        frame(HEADERS, END_HEADERS, stream, &self.block("POST", more))
    }
}

fn encode(fields: &[(String, String)]) -> Vec<u8> {
    let fields: Vec<(&[u8], &[u8])> = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    block(&fields)
}

/// A GET whose block is given.
fn whole(stream: u32, block: &[u8]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, block)
}

fn data(stream: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    frame(DATA, flags, stream, payload)
}

/// One write.
fn send<const N: usize>(parts: [Vec<u8>; N]) -> Vec<Step> {
    vec![Step::Send(parts.into_iter().flatten().collect())]
}

/// Plays a case.
pub async fn play(target: &Target, case: &Case) -> Found {
    let wire = match target.connect(Version::Http2).await {
        Ok(wire) => wire,
        Err(error) => return Found::Broken(format!("no connection: {error:#}")),
    };
    match timeout_at(Instant::now() + 3 * LIMIT, act(target, case, wire)).await {
        Ok(found) => found,
        Err(_) => Found::Broken("no end".into()),
    }
}

async fn act(target: &Target, case: &Case, wire: Box<dyn Wire>) -> Found {
    let kit = Kit(target);
    let frames = match case.preface {
        Preface::With(settings) => Frames::over(wire, settings).await,
        Preface::Own => Ok(Frames::bare(wire)),
    };
    let Ok(mut frames) = frames else { return Found::Broken("the connection ended at once".into()) };
    let mut seen = Seen::default();
    for step in (case.send)(&kit) {
        // A server that has ended the connection meanwhile is judged by what it said.
        match step {
            Step::Send(bytes) => drop(frames.send(bytes).await),
            Step::Answer(stream) => seen.watch(&mut frames, LIMIT, |seen| seen.is_over(stream)).await,
            Step::Body(stream, bytes) => seen.watch(&mut frames, LIMIT, |seen| seen.body(stream) >= bytes).await,
            Step::Settings => seen.watch(&mut frames, LIMIT, |seen| seen.settings.is_some()).await,
            Step::Crowd => {
                seen.watch(&mut frames, LIMIT, |seen| seen.settings.is_some()).await;
                let Some(most) = seen.setting(3).filter(|most| *most <= 1_000) else { return Found::Skipped("it allows any number of streams") };
                let crowd: Vec<u8> = (0..=most).flat_map(|n| kit.post(2 * n + 1)).collect();
                seen.crowd = 2 * most + 1;
                frames.send(crowd).await;
            }
        }
    }
    frames.send(frame(PING, 0, 0, PROBE)).await;
    case.expect.wait(&mut seen, &mut frames).await;
    case.expect.judge(&seen)
}

impl Expect {
    async fn wait(&self, seen: &mut Seen, frames: &mut Frames) {
        match *self {
            Self::Connection(_) => {
                seen.watch(frames, LIMIT, |seen| seen.pong).await;
                seen.watch(frames, GRACE, |_| false).await;
            }
            Self::Closed(stream) => {
                seen.watch(frames, LIMIT, |seen| seen.reset(stream).is_some() || seen.pong).await;
                seen.watch(frames, GRACE, |seen| seen.reset(stream).is_some()).await;
            }
            Self::Closes => seen.watch_end(frames, LIMIT).await,
            Self::Stream(stream, _) | Self::Refused(stream) => {
                seen.watch(frames, LIMIT, |seen| seen.status(seen.real(stream)).is_some() || seen.reset(seen.real(stream)).is_some()).await;
            }
            Self::Served(stream) | Self::ServedUnlessOver(stream) => seen.watch(frames, LIMIT, |seen| seen.is_over(stream)).await,
            Self::Judge(_) => {
                seen.watch(frames, LIMIT, |seen| seen.pong).await;
                seen.watch(frames, 2 * GRACE, |_| false).await;
            }
        }
    }

    fn judge(&self, seen: &Seen) -> Found {
        match *self {
            Self::Connection(codes) => match seen.goaway {
                Some((_, code)) if codes.contains(&code) => Found::Kept,
                Some((_, code)) if code != 0 => Found::Otherwise(format!("GOAWAY with code {code}")),
                _ if seen.ended => Found::Otherwise("closed without a word".into()),
                _ => Found::Broken(format!("the connection goes on{}", seen.told())),
            },
            Self::Stream(stream, codes) => match (seen.reset(seen.real(stream)), seen.status(seen.real(stream))) {
                (Some(code), _) if codes.contains(&code) => Found::Kept,
                (Some(code), _) => Found::Otherwise(format!("reset with code {code}")),
                (None, Some(400..=599)) => Found::Otherwise(format!("answered{}", seen.told())),
                (None, Some(status)) => Found::Broken(format!("answered {status}")),
                (None, None) if seen.is_gone() => Found::Otherwise(format!("the connection ended{}", seen.told())),
                (None, None) => Found::Broken("borne".into()),
            },
            Self::Closed(stream) => match (seen.goaway, seen.reset(stream)) {
                (Some((_, code::CLOSED)), _) | (_, Some(code::CLOSED)) => Found::Kept,
                (Some((_, code)), _) if code != 0 => Found::Otherwise(format!("GOAWAY with code {code}")),
                (_, Some(code)) => Found::Otherwise(format!("reset with code {code}")),
                _ if seen.ended => Found::Otherwise("closed without a word".into()),
                _ => Found::Otherwise("ignored".into()),
            },
            Self::Closes if seen.ended => Found::Kept,
            Self::Closes => Found::Broken(format!("the connection stays open{}", seen.told())),
            Self::Refused(stream) => match (seen.reset(stream), seen.status(stream)) {
                (Some(code::PROTOCOL), _) | (_, Some(400..=499)) => Found::Kept,
                (Some(code), _) => Found::Otherwise(format!("reset with code {code}")),
                (None, Some(500..=599)) => Found::Otherwise(format!("answered{}", seen.told())),
                (None, Some(status)) => Found::Broken(format!("answered {status}")),
                (None, None) if seen.is_gone() => Found::Otherwise(format!("the connection ended{}", seen.told())),
                (None, None) => Found::Broken("borne".into()),
            },
            Self::ServedUnlessOver(_) if seen.is_gone() => Found::Otherwise(format!("the connection ended{}", seen.told())),
            Self::Served(stream) | Self::ServedUnlessOver(stream) => match seen.status(stream) {
                Some(200..=299) if seen.reset(stream).is_none_or(|code| code == 0) => Found::Kept,
                _ => Found::Broken(format!("not served{}", seen.told())),
            },
            Self::Judge(judge) => judge(seen),
        }
    }
}
