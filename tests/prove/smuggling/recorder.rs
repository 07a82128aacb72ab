//! The service behind the gateway: reads with the reference reader, and compares at once with what the clients' streams mean.

use harness::listening::accept_each;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::reader::{self, One, Request};

/// So many violations are told as they come.
const TOLD_AT_ONCE: usize = 20;

/// What a stream may show here: each request at most once, in this order, and the beginning of one more.
#[derive(Debug)]
pub(super) struct Expected {
    pub(super) requests: Vec<Request>,
    pub(super) partial: Option<Request>,
    /// How many of them were seen or passed over.
    pub(super) next: usize,
    /// What was sent, for sentences.
    pub(super) sent: Vec<u8>,
}

/// Shared by the clients and the service.
#[derive(Debug, Default)]
pub(super) struct Book {
    expected: Mutex<HashMap<u64, Expected>>,
    violations: Mutex<Vec<String>>,
    pub(super) seen: std::sync::atomic::AtomicU64,
}

impl Book {
    pub(super) fn expected(&self) -> MutexGuard<'_, HashMap<u64, Expected>> {
        self.expected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn violations(&self) -> MutexGuard<'_, Vec<String>> {
        self.violations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn violation(&self, what: &str, request: &Request, sent: Option<&[u8]>) {
        let sent = sent.unwrap_or_default().escape_ascii().to_string();
        let body = request.body.escape_ascii().to_string();
        self.tell(format!("{what}: {} {} {body:?}; the client sent {sent}", request.method, request.path));
    }

    /// Notes a violation. The first ones are told at once: a run that is cut off must not take them along.
    fn tell(&self, text: String) {
        let mut violations = self.violations();
        if violations.len() < TOLD_AT_ONCE {
            eprintln!("  smuggling: {text}");
        }
        violations.push(text);
    }

    /// Judges a request that came whole.
    fn whole(&self, request: &Request) {
        self.seen.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mut all = self.expected();
        let known = number(&request.path).filter(|number| all.contains_key(number));
        let found = known.and_then(|number| all.get_mut(&number)?.take(request));
        // A stream whose target was scratched names another stream, or none.
        let found = found.or_else(|| all.values_mut().find_map(|expected| expected.take(request)));
        let sent = known.and_then(|number| Some(all.get(&number)?.sent.clone()));
        drop(all);
        match found {
            None => self.violation("a request that the reference does not read", request, sent.as_deref()),
            Some(one) => {
                let is_evil = |request: &Request| request.fields.iter().any(|(name, _)| name == "x-evil");
                if is_evil(request) && !is_evil(&one) || request.values("host").count() != 1 {
                    self.violation("a field that was smuggled in", request, sent.as_deref());
                }
            }
        }
    }

    /// Judges a request that broke off.
    fn partial(&self, request: &Request) {
        let all = self.expected();
        let is_begun = |expected: &Expected| {
            let mut begun = expected.requests.iter().chain(&expected.partial);
            begun.any(|one| one.path == request.path && one.method == request.method && one.body.starts_with(&request.body))
        };
        let is_known = all.values().any(is_begun);
        drop(all);
        if !is_known {
            self.violation("half a request that the reference does not read", request, None);
        }
    }
}

impl Expected {
    /// Takes the request, and passes over those before it.
    fn take(&mut self, request: &Request) -> Option<Request> {
        let at = self.requests.iter().skip(self.next).position(|one| is_same(one, request))? + self.next;
        self.next = at + 1;
        self.requests.get(at).cloned()
    }
}

fn is_same(one: &Request, other: &Request) -> bool {
    (&one.method, &one.path, &one.body) == (&other.method, &other.path, &other.body)
}

/// The stream that a target belongs to.
fn number(path: &str) -> Option<u64> {
    path.strip_prefix("/smug/")?.split('/').next()?.parse().ok()
}

/// Accepts for as long as the task lives.
pub(super) fn start(listener: TcpListener, book: Arc<Book>) -> JoinSet<()> {
    accept_each(listener, move |stream| serve(stream, Arc::clone(&book)))
}

async fn serve(mut stream: TcpStream, book: Arc<Book>) {
    drop(stream.set_nodelay(true));
    let mut bytes = Vec::new();
    loop {
        match reader::one(&bytes) {
            One::Whole(request, length) => {
                bytes.drain(..length);
                book.whole(&request);
                let body = if request.method == "HEAD" { "" } else { request.path.as_str() };
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", request.path.len());
                if stream.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
            One::More(partial) => {
                if !matches!(stream.read_buf(&mut bytes).await, Ok(n) if n > 0) {
                    if let Some(partial) = partial {
                        book.partial(&partial);
                    }
                    return;
                }
            }
            One::Refused(_) => {
                book.tell(format!("the gateway wrote what the reference refuses: {}", bytes.escape_ascii()));
                return;
            }
        }
    }
}
