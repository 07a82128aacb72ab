//! The service behind every proxy: HTTP/1.1 keep-alive on 127.0.0.1, one thread, as little work as possible.
//!
//! `upstream PORT`: `GET /1m…` answers 1 MiB, everything else 512 bytes of JSON; request bodies (by length or chunked) are
//! read and dropped. A connection that begins with HTTP/2's preface gets a small gRPC answer to each request. It shares a core with the load generator, so what it spends is taken from the load, never from the
//! proxy that is measured.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Read, Write};

use bench_tools::{Failure, h2c, header};
use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

/// Token of the listener; connections count up from the next.
const LISTENER: Token = Token(0);
/// A head or a chunk-size line longer than this closes the connection.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// The two answers, made once.
#[derive(Debug, Clone, Copy)]
struct Answers {
    small: &'static [u8],
    large: &'static [u8],
}

/// Where the parser stands in the stream of requests.
#[derive(Debug, Clone, Copy)]
enum Stage {
    Head,
    Length(usize),
    ChunkSize,
    ChunkData(usize),
    ChunkEnd,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    stage: Stage,
    /// Bytes of an unfinished head or line.
    input: Vec<u8>,
    answer: &'static [u8],
    output: VecDeque<&'static [u8]>,
    close_after: bool,
    /// Set once the peer turned out to speak HTTP/2.
    h2: Option<h2c::Session>,
    /// HTTP/2 frames to be sent.
    frames: Vec<u8>,
}

fn main() -> Result<(), Failure> {
    let port: u16 = std::env::args().nth(1).ok_or("usage: upstream PORT")?.parse()?;
    let answers = answers();
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(([127, 0, 0, 1], port).into())?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(512);
    let mut connections: HashMap<Token, Connection> = HashMap::new();
    let mut next = 1;
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match poll.poll(&mut events, None) {
            Err(failure) if failure.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        }
        for event in &events {
            if event.token() == LISTENER {
                accept(&listener, &poll, &mut connections, &mut next)?;
                continue;
            }
            let Some(connection) = connections.get_mut(&event.token()) else { continue };
            if connection.turn(event, &mut buffer, answers).is_err() {
                connections.remove(&event.token());
            }
        }
    }
}

fn answers() -> Answers {
    let body = format!(r#"{{"id":42,"name":"widget","filler":"{}"}}"#, "x".repeat(512 - 37));
    let small = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let large = format!("HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {}\r\n\r\n{}", 1 << 20, "x".repeat(1 << 20));
    Answers { small: small.into_bytes().leak(), large: large.into_bytes().leak() }
}

fn accept(listener: &TcpListener, poll: &Poll, connections: &mut HashMap<Token, Connection>, next: &mut usize) -> Result<(), Failure> {
    loop {
        let mut stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(failure) if failure.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(failure) => return Err(failure.into()),
        };
        stream.set_nodelay(true)?;
        let token = Token(*next);
        *next += 1;
        poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        let connection = Connection {
            stream,
            stage: Stage::Head,
            input: Vec::new(),
            answer: &[],
            output: VecDeque::new(),
            close_after: false,
            h2: None,
            frames: Vec::new(),
        };
        connections.insert(token, connection);
    }
}

impl Connection {
    /// Serves one readiness event; an error means that the connection is over.
    fn turn(&mut self, event: &Event, buffer: &mut [u8], answers: Answers) -> Result<(), Failure> {
        if event.is_readable() {
            loop {
                let count = match self.stream.read(buffer) {
                    Ok(0) => return Err("closed".into()),
                    Ok(count) => count,
                    Err(failure) if failure.kind() == io::ErrorKind::WouldBlock => break,
                    Err(failure) => return Err(failure.into()),
                };
                self.feed(buffer.get(..count).unwrap_or_default(), answers)?;
                // A short read drained the socket: with edge-triggered epoll, new bytes make a new event (epoll(7)).
                if count < buffer.len() {
                    break;
                }
            }
        }
        self.write()
    }

    fn write(&mut self) -> Result<(), Failure> {
        while !self.frames.is_empty() {
            match self.stream.write(&self.frames) {
                Ok(count) => drop(self.frames.drain(..count)),
                Err(failure) if failure.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(failure) => return Err(failure.into()),
            }
        }
        while let Some(bytes) = self.output.front_mut() {
            match self.stream.write(bytes) {
                Ok(count) if count == bytes.len() => {
                    self.output.pop_front();
                }
                Ok(count) => *bytes = bytes.get(count..).unwrap_or_default(),
                Err(failure) if failure.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(failure) => return Err(failure.into()),
            }
        }
        if self.close_after { Err("asked to close".into()) } else { Ok(()) }
    }

    fn feed(&mut self, data: &[u8], answers: Answers) -> Result<(), Failure> {
        if self.input.is_empty() {
            let used = self.parse(data, answers)?;
            self.input.extend_from_slice(data.get(used..).unwrap_or_default());
        } else {
            let mut input = std::mem::take(&mut self.input);
            input.extend_from_slice(data);
            let used = self.parse(&input, answers)?;
            input.drain(..used);
            self.input = input;
        }
        if self.input.len() > LINE_BYTES_MAX { Err("head is too long".into()) } else { Ok(()) }
    }

    /// Advances over `data`; returns how many bytes it consumed.
    fn parse(&mut self, data: &[u8], answers: Answers) -> Result<usize, Failure> {
        let mut used = 0;
        loop {
            let rest = data.get(used..).unwrap_or_default();
            if let Some(session) = &mut self.h2 {
                return Ok(used + session.parse(rest, &mut self.frames)?);
            }
            match self.stage {
                Stage::Head => {
                    let Some(end) = memchr::memmem::find(rest, b"\r\n\r\n") else { return Ok(used) };
                    used += end + 4;
                    if rest.get(..end) == Some(h2c::PREFACE_HEAD) {
                        self.h2 = Some(h2c::Session::start(&mut self.frames));
                        continue;
                    }
                    self.head(rest.get(..end).unwrap_or_default(), answers)?;
                }
                Stage::Length(0) => self.respond(),
                Stage::Length(left) => {
                    let step = left.min(rest.len());
                    used += step;
                    self.stage = Stage::Length(left - step);
                    if step == 0 {
                        return Ok(used);
                    }
                }
                Stage::ChunkSize => {
                    let Some(end) = memchr::memmem::find(rest, b"\r\n") else { return Ok(used) };
                    used += end + 2;
                    let line = std::str::from_utf8(rest.get(..end).unwrap_or_default())?;
                    let size = usize::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16)?;
                    self.stage = if size == 0 { Stage::ChunkEnd } else { Stage::ChunkData(size + 2) };
                }
                Stage::ChunkData(0) => self.stage = Stage::ChunkSize,
                Stage::ChunkData(left) => {
                    let step = left.min(rest.len());
                    used += step;
                    self.stage = Stage::ChunkData(left - step);
                    if step == 0 {
                        return Ok(used);
                    }
                }
                Stage::ChunkEnd => {
                    let Some(end) = memchr::memmem::find(rest, b"\r\n") else { return Ok(used) };
                    used += end + 2;
                    if end == 0 {
                        self.respond();
                    }
                }
            }
        }
    }

    fn head(&mut self, head: &[u8], answers: Answers) -> Result<(), Failure> {
        self.answer = if head.starts_with(b"GET /1m") { answers.large } else { answers.small };
        self.close_after |= header(head, "connection").is_some_and(|value| value.eq_ignore_ascii_case(b"close"));
        self.stage = if header(head, "transfer-encoding").is_some() {
            Stage::ChunkSize
        } else if let Some(length) = header(head, "content-length") {
            Stage::Length(std::str::from_utf8(length)?.parse()?)
        } else {
            Stage::Length(0)
        };
        Ok(())
    }

    fn respond(&mut self) {
        self.output.push_back(self.answer);
        self.stage = Stage::Head;
    }
}
