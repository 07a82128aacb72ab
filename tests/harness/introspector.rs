//! An issuer whose tokens only it can read (RFC 7662), played over HTTPS: what it says of each is in a table, and it can be as bad as one that
//! publishes keys.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::issuer::{Manner, acceptor, say};
use crate::listening::accept_each;

/// A question that it got.
#[derive(Debug, Clone)]
pub struct Question {
    /// The request's line and fields.
    pub head: String,
    /// The form that was sent.
    pub body: String,
    /// The token in it.
    pub token: String,
}

/// The issuer.
#[derive(Debug)]
pub struct Introspector {
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    url: String,
    answers: Mutex<HashMap<String, Value>>,
    manner: Mutex<Manner>,
    asked: Mutex<Vec<Question>>,
    at_once: AtomicUsize,
    at_once_most: AtomicUsize,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Introspector {
    /// Starts it on a port of its own, with a certificate for `127.0.0.1`. It knows no token.
    ///
    /// # Errors
    /// When the files cannot be read, or there is no port.
    pub async fn start(certificate: &Path, key: &Path) -> Result<Self> {
        let tls = acceptor(certificate, key)?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let shared = Arc::new(Shared {
            url: format!("https://127.0.0.1:{}", listener.local_addr()?.port()),
            answers: Mutex::default(),
            manner: Mutex::new(Manner::Well),
            asked: Mutex::default(),
            at_once: AtomicUsize::new(0),
            at_once_most: AtomicUsize::new(0),
        });
        let served = Arc::clone(&shared);
        let tasks = accept_each(listener, move |stream| {
            let (tls, shared) = (tls.clone(), Arc::clone(&served));
            async move { serve(stream, &tls, &shared).await.unwrap_or_default() }
        });
        Ok(Self { shared, _tasks: tasks })
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.shared.url
    }

    /// Says this of a token from now on; what it does not know is not active.
    pub fn know(&self, token: &str, answer: Value) {
        locked(&self.shared.answers).insert(token.to_owned(), answer);
    }

    /// Knows a token no more.
    pub fn forget(&self, token: &str) {
        locked(&self.shared.answers).remove(token);
    }

    /// Answers otherwise from now on.
    pub fn behave(&self, manner: Manner) {
        *locked(&self.shared.manner) = manner;
    }

    /// The questions so far.
    pub fn asked(&self) -> Vec<Question> {
        locked(&self.shared.asked).clone()
    }

    /// How many questions were open at once, at the most: asked, and not answered yet.
    pub fn at_once_most(&self) -> usize {
        self.shared.at_once_most.load(Ordering::Acquire)
    }

    /// What it says of a token that is good for five minutes.
    pub fn claims(&self) -> Value {
        let now = time::OffsetDateTime::now_utc().unix_timestamp();
        json!({
            "active": true, "iss": self.url(), "sub": "alice", "aud": "api", "exp": now + 300, "iat": now, "client_id": "default",
            "scope": "read write", "token_type": "Bearer",
        })
    }
}

/// Counts a question from its connection until the first byte of its answer. Whoever has an answer may ask the next question at once, so that
/// counting to the connection's end would count one question too many now and then.
struct Counted<'s>(&'s Shared);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.at_once.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Serves one request on a connection.
async fn serve(stream: TcpStream, tls: &TlsAcceptor, shared: &Shared) -> Result<()> {
    let counted = Counted(shared);
    let now = shared.at_once.fetch_add(1, Ordering::AcqRel) + 1;
    shared.at_once_most.fetch_max(now, Ordering::AcqRel);
    let mut stream = tls.accept(stream).await?;
    let mut read = Vec::new();
    let (head, mut body) = loop {
        ensure!(stream.read_buf(&mut read).await? > 0 && read.len() < 32_768, "no head");
        if let Some(at) = read.windows(4).position(|end| end == b"\r\n\r\n") {
            break (String::from_utf8(read.get(..at).context("no head")?.to_vec())?, read.get(at + 4..).unwrap_or_default().to_vec());
        }
    };
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned));
    let length: usize = length.map(|length| length.parse()).transpose()?.unwrap_or_default();
    while body.len() < length {
        ensure!(stream.read_buf(&mut body).await? > 0, "half a body");
    }
    let body = String::from_utf8(body)?;
    let token =
        url::form_urlencoded::parse(body.as_bytes()).find(|(name, _)| name == "token").map(|(_, token)| token.into_owned()).unwrap_or_default();
    let text = locked(&shared.answers).get(&token).map_or_else(|| "{\"active\":false}".to_owned(), Value::to_string);
    // Who follows a redirect gets the answer.
    let manner = if head.starts_with("GET /elsewhere ") || head.starts_with("POST /elsewhere ") { Manner::Well } else { *locked(&shared.manner) };
    locked(&shared.asked).push(Question { head, body, token });
    let manner = if let Manner::Slow(pause) = manner {
        tokio::time::sleep_until(tokio::time::Instant::now() + pause).await;
        Manner::Well
    } else {
        manner
    };
    drop(counted);
    say(&mut stream, manner, &text, "{}").await
}
