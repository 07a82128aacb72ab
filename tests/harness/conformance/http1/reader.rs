//! Reads answers of HTTP/1.1 as a client does.

use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use crate::frames::Wire;

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Its body came as its framing says.
    pub(super) is_whole: bool,
}

/// A connection and what was read of it.
pub(super) struct Reader {
    pub(super) wire: Box<dyn Wire>,
    left: Vec<u8>,
    pub(super) ended: bool,
}

impl Reader {
    pub(super) fn new(wire: Box<dyn Wire>) -> Self {
        Self { wire, left: Vec::new(), ended: false }
    }

    /// The next final answer; `None` when none comes in time, or the connection ends first.
    pub(super) async fn answer(&mut self, limit: Duration) -> Option<Answer> {
        timeout(limit, self.read_answer()).await.ok().flatten()
    }

    /// The next answer's head, be it an interim one; its body is taken to have no bytes.
    pub(super) async fn head(&mut self, limit: Duration) -> Option<Answer> {
        let (status, _) = timeout(limit, self.read_head()).await.ok().flatten()?;
        Some(Answer { status, is_whole: true })
    }

    /// Whether the connection ends in time; what still comes is dropped.
    pub(super) async fn ends(&mut self, limit: Duration) -> bool {
        let drained = async { while self.more().await.is_some() {} };
        timeout(limit, drained).await.is_ok()
    }

    /// Nothing has come that was not read as an answer.
    pub(super) fn is_quiet(&self) -> bool {
        self.left.is_empty()
    }

    async fn read_answer(&mut self) -> Option<Answer> {
        loop {
            let (status, head) = self.read_head().await?;
            if status / 100 != 1 {
                return Some(Answer { status, is_whole: self.read_body(status, &head).await.is_some() });
            }
        }
    }

    async fn read_head(&mut self) -> Option<(u16, String)> {
        let head = self.until(b"\r\n\r\n").await?;
        let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
        let status = head.strip_prefix("http/1.")?.get(2..5)?.parse().ok()?;
        Some((status, head))
    }

    async fn read_body(&mut self, status: u16, head: &str) -> Option<()> {
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
        if matches!(status, 204 | 304) {
            return Some(());
        }
        if field("transfer-encoding") == Some("chunked") {
            loop {
                let line = String::from_utf8(self.until(b"\r\n").await?).ok()?;
                let size = usize::from_str_radix(line.trim().split(';').next()?, 16).ok()?;
                if size == 0 {
                    while self.until(b"\r\n").await? != b"\r\n" {}
                    return Some(());
                }
                self.skip(size + 2).await?;
            }
        }
        if let Some(length) = field("content-length") {
            return self.skip(length.parse().ok()?).await;
        }
        while self.more().await.is_some() {}
        self.left.clear();
        Some(())
    }

    async fn until(&mut self, mark: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.left.windows(mark.len()).position(|window| window == mark) {
                let rest = self.left.split_off(at + mark.len());
                return Some(std::mem::replace(&mut self.left, rest));
            }
            self.more().await?;
        }
    }

    async fn skip(&mut self, n: usize) -> Option<()> {
        while self.left.len() < n {
            self.more().await?;
        }
        self.left.drain(..n);
        Some(())
    }

    async fn more(&mut self) -> Option<()> {
        if self.ended || self.left.len() > 1 << 22 {
            return None;
        }
        self.ended = !matches!(self.wire.read_buf(&mut self.left).await, Ok(n) if n > 0);
        (!self.ended).then_some(())
    }
}
