//! The service that misbehaves as its client asks: `/faults/CASE/NONCE` names the script.

use harness::listening::accept_each;
use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::script::{Act, Case, FAULTS, FINE, Then, When};

/// How long an endless answer lasts at most: a gateway that has not had enough by then never will.
const ENDLESS: Duration = Duration::from_secs(8);
/// How long a connection in doubt is watched for another request.
const WATCHED: Duration = Duration::from_secs(6);

/// What the service saw that must never be.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Requests over a connection whose last answer left doubt.
    pub(super) reused_in_doubt: Vec<String>,
    /// Requests that are not what a client sent.
    pub(super) malformed: Vec<String>,
    /// Requests that must not be sent twice, and were.
    pub(super) doubled: Vec<String>,
    posts: HashSet<String>,
    /// Endless answers that were taken until their end.
    pub(super) endless: Vec<String>,
}

/// Shared by the service's connections and the checks.
#[derive(Debug, Default)]
pub(super) struct Shared {
    seen: Mutex<Seen>,
    pub(super) requests: AtomicU64,
    pub(super) connections: AtomicU64,
}

impl Shared {
    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the service writes on a connection that has just answered and is idle.
#[derive(Debug, Clone, Copy)]
pub(super) enum Poison {
    /// These bytes.
    Bytes(&'static str),
    /// These bytes, and an orderly end.
    BytesThenEnd(&'static str),
    /// A reset.
    Reset,
}

/// Orders to the connection that answered last, each acknowledged once it is carried out.
pub(super) type Orders = mpsc::Receiver<(Poison, tokio::sync::oneshot::Sender<()>)>;

/// Accepts for as long as the task lives.
pub(super) fn start(listener: TcpListener, shared: Arc<Shared>) -> JoinSet<()> {
    accept_each(listener, move |stream| {
        shared.connections.fetch_add(1, Ordering::SeqCst);
        let shared = Arc::clone(&shared);
        async move { drop(serve(stream, &shared).await) }
    })
}

/// Serves requests until the script ends the connection.
async fn serve(mut stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut left = Vec::new();
    loop {
        let head = String::from_utf8_lossy(&until(&mut stream, &mut left, b"\r\n\r\n").await?).into_owned();
        shared.requests.fetch_add(1, Ordering::SeqCst);
        let Some((case, nonce)) = asked(&head) else {
            shared.seen().malformed.push(head);
            return Ok(());
        };
        if head.starts_with("POST") && !shared.seen().posts.insert(nonce.clone()) {
            shared.seen().doubled.push(format!("{} {nonce}", case.name));
        }
        if case.when == When::AfterRequest {
            let body = body(&mut stream, &mut left, &head).await?;
            let lawful = if head.starts_with("POST") { !body.is_empty() && is_of(&body, &nonce) } else { body.is_empty() };
            if !lawful {
                shared.seen().malformed.push(format!("{head}{}", body.escape_ascii()));
            }
        }
        if !act(&mut stream, case, &nonce, shared).await? {
            return Ok(());
        }
        if case.then == Then::InDoubt {
            let unread = if case.when == When::AfterHead { length(&head) } else { None };
            watch(&mut stream, left, unread, case, shared).await;
            return stream.set_zero_linger();
        }
    }
}

/// The length that a request's head says.
fn length(head: &str) -> Option<usize> {
    head.lines().find_map(|line| line.strip_prefix("content-length:"))?.trim().parse().ok()
}

/// Notes a request that comes over a connection whose last answer left doubt: who sent it cannot know where the next answer begins.
///
/// `unread` is the length of a body that was not read before the answer. Where all of it comes first, both messages were whole: no doubt.
async fn watch(stream: &mut TcpStream, mut left: Vec<u8>, unread: Option<usize>, case: &Case, shared: &Shared) {
    let watched = async {
        let mut passed = 0;
        loop {
            if let Some(end) = left.windows(10).position(|window| window == b"HTTP/1.1\r\n") {
                let begin = |method: &[u8]| left.get(..end)?.windows(method.len()).rposition(|window| window == method);
                let begin = [b"GET /".as_slice(), b"POST /", b"HEAD /"].into_iter().filter_map(begin).max().unwrap_or(end);
                return unread != Some(passed + begin);
            }
            // The rest of a body that was never read may come, and is no request.
            let past = left.len().saturating_sub(128);
            left.drain(..past);
            passed += past;
            if !matches!(stream.read_buf(&mut left).await, Ok(n) if n > 0) {
                return false;
            }
        }
    };
    if timeout(WATCHED, watched).await == Ok(true) {
        shared.seen().reused_in_doubt.push(format!("{}: {}", case.name, left.escape_ascii()));
    }
}

/// Whether a body is the nonce, again and again.
pub(super) fn is_of(body: &[u8], nonce: &str) -> bool {
    body.iter().zip(nonce.bytes().cycle()).all(|(byte, expected)| *byte == expected)
}

/// The case that a head asks for, and its nonce; `None` when the head is not one of ours.
fn asked(head: &str) -> Option<(&'static Case, String)> {
    let target = head.lines().next()?.split(' ').nth(1)?;
    let mut parts = target.strip_prefix('/')?.split('/').skip(1);
    let (name, nonce) = (parts.next()?, parts.next()?);
    let case = FINE.iter().chain(FAULTS).find(|case| case.name == name)?;
    // A client says its nonce twice: a head that was put together from two requests shows.
    let field = head.lines().find_map(|line| line.strip_prefix("x-nonce: "))?;
    (nonce.len() == 16 && field == nonce).then(|| (case, nonce.to_owned()))
}

/// Carries out a script; whether the connection goes on.
async fn act(stream: &mut TcpStream, case: &Case, nonce: &str, shared: &Shared) -> std::io::Result<bool> {
    for act in case.acts {
        match act {
            Act::Send(text) => stream.write_all(text.replace("{n}", nonce).as_bytes()).await?,
            Act::Times(times, text) => {
                let many = text.replace("{n}", nonce).repeat(usize::try_from(*times).unwrap_or_default());
                stream.write_all(many.as_bytes()).await?;
            }
            Act::Endless(text) => {
                let many = text.replace("{n}", nonce).repeat(1 + 4_096 / text.len().max(1));
                let began = Instant::now();
                while began.elapsed() < ENDLESS {
                    match timeout(ENDLESS, stream.write_all(many.as_bytes())).await {
                        Ok(written) => written?,
                        Err(_) => break,
                    }
                }
                shared.seen().endless.push(case.name.to_owned());
                return Ok(false);
            }
            Act::Pause(millis) => sleep_until(Instant::now() + Duration::from_millis(*millis)).await,
            Act::Close => {
                stream.shutdown().await?;
                return Ok(false);
            }
            Act::Reset => {
                stream.set_zero_linger()?;
                return Ok(false);
            }
            // The connection stays open and silent; what comes over it is looked at by the caller.
            Act::Hang => return Ok(true),
        }
    }
    Ok(true)
}

/// A service that answers well, and then spoils the idle connection as it is told.
pub(super) fn start_poisoner(listener: TcpListener, shared: Arc<Shared>, mut orders: Orders) -> JoinSet<()> {
    let mut task = JoinSet::new();
    task.spawn(async move {
        // Connections take turns: the one that answered last is spoiled.
        let latest = Arc::<Mutex<Option<Arc<tokio::sync::Mutex<Option<TcpStream>>>>>>::default();
        let mut served = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                    shared.connections.fetch_add(1, Ordering::SeqCst);
                    served.spawn(answer_well(stream, Arc::clone(&latest), Arc::clone(&shared)));
                },
                Some((poison, done)) = orders.recv() => {
                    let slot = latest.lock().unwrap_or_else(PoisonError::into_inner).take();
                    if let Some(slot) = slot {
                        spoil(&slot, poison).await;
                    }
                    done.send(()).ok();
                }
                Some(_) = served.join_next(), if !served.is_empty() => {}
            }
        }
    });
    task
}

type Slot = Arc<tokio::sync::Mutex<Option<TcpStream>>>;

async fn spoil(slot: &Slot, poison: Poison) {
    let mut slot = slot.lock().await;
    let Some(stream) = slot.as_mut() else { return };
    match poison {
        Poison::Bytes(bytes) => drop(stream.write_all(bytes.as_bytes()).await),
        Poison::BytesThenEnd(bytes) => drop((stream.write_all(bytes.as_bytes()).await, stream.shutdown().await)),
        Poison::Reset => {
            drop(stream.set_zero_linger());
            slot.take();
        }
    }
}

/// Answers `fine` to everything; between requests the stream lies in its slot, where orders reach it.
async fn answer_well(stream: TcpStream, latest: Arc<Mutex<Option<Slot>>>, shared: Arc<Shared>) {
    // Without it the kernel holds the poison until the gateway sends its next request, and nobody could know of it before.
    drop(stream.set_nodelay(true));
    let slot: Slot = Arc::new(tokio::sync::Mutex::new(Some(stream)));
    let mut left = Vec::new();
    loop {
        // Waits without holding the slot, so that it can be spoiled meanwhile.
        let mut pulse = tokio::time::interval(Duration::from_millis(1));
        let head = loop {
            pulse.tick().await;
            let mut slot = slot.lock().await;
            let Some(stream) = slot.as_mut() else { return };
            match stream.try_read_buf(&mut left) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
            if let Some(at) = left.windows(4).position(|window| window == b"\r\n\r\n") {
                break String::from_utf8_lossy(&left.drain(..at + 4).collect::<Vec<u8>>()).into_owned();
            }
        };
        shared.requests.fetch_add(1, Ordering::SeqCst);
        let Some((case, nonce)) = asked(&head) else { return };
        {
            let mut slot = slot.lock().await;
            let Some(stream) = slot.as_mut() else { return };
            if head.starts_with("POST") && body(stream, &mut left, &head).await.is_err() {
                return;
            }
            // Told before it is written: the order may come as soon as the client has the answer.
            if !act(stream, case, &nonce, &shared).await.unwrap_or(false) {
                return;
            }
        }
        *latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&slot));
    }
}

async fn body(stream: &mut TcpStream, left: &mut Vec<u8>, head: &str) -> std::io::Result<Vec<u8>> {
    let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    if let Some(length) = field("content-length:").and_then(|text| text.parse::<usize>().ok()) {
        return exactly(stream, left, length).await;
    }
    let mut body = Vec::new();
    while field("transfer-encoding:") == Some("chunked") {
        let line = until(stream, left, b"\r\n").await?;
        let size = usize::from_str_radix(String::from_utf8_lossy(&line).trim(), 16).map_err(std::io::Error::other)?;
        let chunk = exactly(stream, left, size + 2).await?;
        if size == 0 {
            break;
        }
        body.extend_from_slice(chunk.get(..size).unwrap_or_default());
    }
    Ok(body)
}

async fn until(stream: &mut TcpStream, left: &mut Vec<u8>, mark: &[u8]) -> std::io::Result<Vec<u8>> {
    loop {
        if let Some(at) = left.windows(mark.len()).position(|window| window == mark) {
            let rest = left.split_off(at + mark.len());
            return Ok(std::mem::replace(left, rest));
        }
        more(stream, left).await?;
    }
}

async fn exactly(stream: &mut TcpStream, left: &mut Vec<u8>, n: usize) -> std::io::Result<Vec<u8>> {
    while left.len() < n {
        more(stream, left).await?;
    }
    let rest = left.split_off(n);
    Ok(std::mem::replace(left, rest))
}

async fn more(stream: &mut TcpStream, left: &mut Vec<u8>) -> std::io::Result<()> {
    if stream.read_buf(left).await? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}
