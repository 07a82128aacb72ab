//! How a case of HTTP/1.1 is played, and judged.

mod bodies;
mod heads;
mod reader;

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::target::Target;
use super::{Found, Level, Rule};
use crate::client::Version;
use reader::{Answer, Reader};

/// How long an answer or an end may take.
const LIMIT: Duration = Duration::from_secs(3);

/// A case.
#[derive(Debug)]
pub struct Case {
    /// What it is about.
    pub rule: Rule,
    send: fn(&Kit<'_>) -> Vec<u8>,
    expect: Expect,
}

/// What must follow.
#[derive(Debug, Clone, Copy)]
enum Expect {
    /// So many answers with 2xx, in order.
    Served(usize),
    /// An answer with 2xx, and then an end.
    ServedThenEnd,
    /// An answer with 2xx to HEAD, without a body, and another one to GET.
    HeadThenGet,
    /// 100, and once the body was sent 2xx.
    Continue(&'static str),
    /// A refusal, as a rule with one of these.
    Refused(&'static [u16]),
    /// A refusal behind which nothing is read any more: where the next request would begin is in doubt.
    RefusedForGood(&'static [u16]),
    /// A refusal, or an answer with 2xx: both are lawful.
    Either,
    /// A final answer that is not 2xx, or no answer: only half of the request has come.
    NotServed,
}

const fn case(level: Level, section: &'static str, text: &'static str, send: fn(&Kit<'_>) -> Vec<u8>, expect: Expect) -> Case {
    Case { rule: Rule { section, text, level }, send, expect }
}

const fn must(section: &'static str, text: &'static str, send: fn(&Kit<'_>) -> Vec<u8>, expect: Expect) -> Case {
    case(Level::Must, section, text, send, expect)
}

const fn should(section: &'static str, text: &'static str, send: fn(&Kit<'_>) -> Vec<u8>, expect: Expect) -> Case {
    case(Level::Should, section, text, send, expect)
}

/// Every case, by section.
pub fn cases() -> Vec<Case> {
    heads::cases().into_iter().chain(bodies::cases()).collect()
}

/// Makes a target's requests.
struct Kit<'t>(&'t Target);

impl Kit<'_> {
    /// Lines of the fields that each request needs, the host first.
    fn fields(&self) -> String {
        format!("host: {}\r\n{}", self.0.authority, self.own())
    }

    /// The same without the host.
    fn own(&self) -> String {
        self.0.fields.iter().fold(String::new(), |lines, (name, value)| lines + name + ": " + value + "\r\n")
    }

    /// A request with another request line.
    fn line(&self, line: &str) -> Vec<u8> {
        format!("{line}\r\n{}\r\n", self.fields()).into_bytes()
    }

    /// A GET of another target.
    fn target(&self, target: &str) -> Vec<u8> {
        self.line(&format!("GET {target} HTTP/1.1"))
    }

    /// A GET with more field lines, each with its end.
    fn get(&self, more: &str) -> Vec<u8> {
        format!("GET {} HTTP/1.1\r\n{}{more}\r\n", self.0.path, self.fields()).into_bytes()
    }

    /// A POST with more field lines and a body.
    fn post(&self, more: &str, body: &str) -> Vec<u8> {
        format!("POST {} HTTP/1.1\r\n{}{more}\r\n{body}", self.0.path, self.fields()).into_bytes()
    }

    fn chunked(&self, body: &str) -> Vec<u8> {
        self.post("transfer-encoding: chunked\r\n", body)
    }
}

/// Plays a case.
pub async fn play(target: &Target, case: &Case) -> Found {
    let wire = match target.connect(Version::Http1).await {
        Ok(wire) => wire,
        Err(error) => return Found::Broken(format!("no connection: {error:#}")),
    };
    let mut reader = Reader::new(wire);
    // A server that refuses early may have closed already: what it said is read all the same.
    drop(reader.wire.write_all(&(case.send)(&Kit(target))).await);
    drop(reader.wire.flush().await);
    match timeout(4 * LIMIT, case.expect.judge(&mut reader)).await {
        Ok(found) => found,
        Err(_) => Found::Broken("no end".into()),
    }
}

impl Expect {
    async fn judge(&self, reader: &mut Reader) -> Found {
        match *self {
            Self::Served(times) => served(reader, times).await,
            Self::ServedThenEnd => match served(reader, 1).await {
                Found::Kept if !reader.ends(LIMIT).await => Found::Broken("served, and the connection stays open".into()),
                Found::Kept if !reader.is_quiet() => Found::Broken("something follows the last answer".into()),
                found @ (Found::Kept | Found::Otherwise(_) | Found::Broken(_) | Found::Skipped(_)) => found,
            },
            Self::HeadThenGet => match reader.head(LIMIT).await {
                Some(answer) if answer.status / 100 == 2 => served(reader, 1).await,
                other => Found::Broken(told(other.as_ref())),
            },
            Self::Continue(body) => go_on(reader, body).await,
            Self::Refused(statuses) => refused(reader.answer(LIMIT).await.as_ref(), reader, statuses),
            Self::RefusedForGood(statuses) => {
                let answer = reader.answer(LIMIT).await;
                match refused(answer.as_ref(), reader, statuses) {
                    Found::Broken(why) => Found::Broken(why),
                    _ if !reader.ends(LIMIT).await => Found::Broken(format!("{}, and the connection stays open", told(answer.as_ref()))),
                    found @ (Found::Kept | Found::Otherwise(_) | Found::Skipped(_)) => found,
                }
            }
            Self::Either => match reader.answer(LIMIT).await {
                Some(answer) if matches!(answer.status, 200..=299 | 400..=499 | 501 | 505) => Found::Kept,
                None if reader.ended => Found::Otherwise("closed without a word".into()),
                other => Found::Broken(told(other.as_ref())),
            },
            Self::NotServed => match reader.answer(LIMIT).await {
                Some(answer) if answer.status / 100 == 2 => Found::Broken(told(Some(&answer))),
                _ => Found::Kept,
            },
        }
    }
}

async fn served(reader: &mut Reader, times: usize) -> Found {
    for _ in 0..times {
        match reader.answer(LIMIT).await {
            Some(answer) if answer.status / 100 == 2 && answer.is_whole => {}
            other => return Found::Broken(format!("not served: {}", told(other.as_ref()))),
        }
    }
    Found::Kept
}

async fn go_on(reader: &mut Reader, body: &str) -> Found {
    let interim = reader.head(LIMIT).await;
    if interim.as_ref().is_none_or(|answer| answer.status != 100) {
        return Found::Broken(format!("no 100: {}", told(interim.as_ref())));
    }
    drop(reader.wire.write_all(body.as_bytes()).await);
    drop(reader.wire.flush().await);
    served(reader, 1).await
}

fn refused(answer: Option<&Answer>, reader: &Reader, statuses: &[u16]) -> Found {
    match answer {
        Some(answer) if statuses.contains(&answer.status) => Found::Kept,
        Some(answer) if matches!(answer.status, 300..=599) => Found::Otherwise(told(Some(answer))),
        None if reader.ended => Found::Otherwise("closed without a word".into()),
        other => Found::Broken(told(other)),
    }
}

fn told(answer: Option<&Answer>) -> String {
    answer.map_or_else(|| "no answer".to_owned(), |answer| format!("answered {}", answer.status))
}
