//! The tools against each other: a figure is worth nothing if the upstream or a generator misbehaves.

use std::error::Error;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

type Outcome = Result<(), Box<dyn Error>>;

struct Upstream {
    child: Child,
    port: u16,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn upstream() -> Result<Upstream, Box<dyn Error>> {
    let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    let child = Command::new(env!("CARGO_BIN_EXE_upstream")).arg(port.to_string()).spawn()?;
    let upstream = Upstream { child, port };
    let deadline = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if Instant::now() > deadline {
            return Err("the upstream does not listen".into());
        }
        std::thread::yield_now();
    }
    Ok(upstream)
}

/// Sends `pieces`, each in a write of its own, the last asking to close; returns everything that was answered.
fn answers(port: u16, pieces: &[&[u8]]) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    for piece in pieces {
        stream.write_all(piece)?;
    }
    let mut all = Vec::new();
    stream.read_to_end(&mut all)?;
    Ok(all)
}

fn n_answers(all: &[u8]) -> usize {
    memchr::memmem::find_iter(all, b"HTTP/1.1 200 OK\r\n").count()
}

#[test]
fn upstream_answers_512_bytes_and_one_mebibyte() -> Outcome {
    let upstream = upstream()?;

    let small = answers(upstream.port, &[b"GET /api/v1/items/42 HTTP/1.1\r\nconnection: close\r\n\r\n"])?;
    let large = answers(upstream.port, &[b"GET /1m HTTP/1.1\r\nconnection: close\r\n\r\n"])?;

    for (answer, length) in [(small, 512), (large, 1 << 20)] {
        let body_at = memchr::memmem::find(&answer, b"\r\n\r\n").ok_or("no head")? + 4;
        assert_eq!(answer.len() - body_at, length);
    }
    Ok(())
}

#[test]
fn upstream_reads_bodies_to_their_end_however_they_are_cut() -> Outcome {
    let upstream = upstream()?;
    let by_length = [b"POST / HTTP/1.1\r\ncontent-length: 16384\r\n\r\n".to_vec(), vec![b'a'; 16384]].concat();
    let chunked = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n5\r\nGET /\r\n1;x=y\r\nb\r\n0\r\nt: v\r\n\r\n";
    let last = b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n";
    let stream = [by_length.as_slice(), chunked, last].concat();

    for size in [1, 7, 16384, stream.len()] {
        let pieces: Vec<&[u8]> = stream.chunks(size).collect();
        assert_eq!(n_answers(&answers(upstream.port, &pieces)?), 3, "in pieces of {size} bytes");
    }
    Ok(())
}

#[test]
fn paced_generator_keeps_its_rate_and_counts_no_errors() -> Outcome {
    let upstream = upstream()?;

    let output = Command::new(env!("CARGO_BIN_EXE_paced"))
        .args(["--port", &upstream.port.to_string(), "--plain", "true", "--rate", "500", "--seconds", "1"])
        .args(["--connections", "4"])
        .output()?;
    let line = String::from_utf8(output.stdout)?;

    assert!(line.contains(r#""requests":500,"errors":0,"#), "{line}");
    Ok(())
}

#[test]
fn upstream_speaks_http2_to_whoever_begins_with_its_preface() -> Outcome {
    let upstream = upstream()?;
    // The preface, empty SETTINGS, and HEADERS of stream 1 that end block and stream; cut where it hurts.
    let pieces: [&[u8]; 3] = [b"PRI * HTTP/2.0\r\n\r\nSM", b"\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x01\x01\x05\0\0", b"\0\x01\x83"];
    let mut stream = TcpStream::connect(("127.0.0.1", upstream.port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    for piece in pieces {
        stream.write_all(piece)?;
    }

    let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
    while !all.ends_with(b"grpc-status\x010") {
        let count = stream.read(&mut buffer)?;
        assert_ne!(count, 0, "closed after {all:?}");
        all.extend_from_slice(buffer.get(..count).unwrap_or_default());
    }

    assert!(memchr::memmem::find(&all, b"\0\0\0\0\x40gggg").is_some(), "{all:?}");
    assert!(!all.starts_with(b"HTTP/1.1"));
    Ok(())
}

#[test]
fn generator_reports_a_refusal_as_an_error() -> Outcome {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut head = [0; 1024];
            let _ = stream.read(&mut head);
            let _ = stream.write_all(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n");
        }
    });

    let output = Command::new(env!("CARGO_BIN_EXE_paced"))
        .args(["--port", &port.to_string(), "--plain", "true", "--rate", "50", "--seconds", "0.5", "--warmup", "0"])
        .args(["--connections", "1"])
        .stderr(Stdio::inherit())
        .output()?;
    let line = String::from_utf8(output.stdout)?;

    assert!(line.contains(r#""requests":0,"#) && line.contains("answered 401"), "{line}");
    Ok(())
}
