//! Idle connections, to see what each costs a target in memory.
//!
//! `idle --port 8443 --connections 10000 --seconds 2 --header 'x-api-key: …'` opens the connections, sends one request over
//! each, prints `ready`, leaves them alone for the given time, and prints one line of JSON: how many were still open then,
//! and how many failed.
//!
//! A connection whose request was refused is made once more: what counts here is memory, and the other generators count
//! refusals. The TLS state on this side is dropped after the request: an idle connection needs none, and the generator's memory
//! stays small.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bench_tools::{Failure, Link, Options, Tally, on_threads, tls_client};

/// Connections that are made at the same time.
const N_THREADS: u32 = 16;

fn main() -> Result<(), Failure> {
    let options = Options::from_args()?;
    let client = tls_client()?;
    let request = options.request("");
    let opened = Mutex::new(Vec::new());

    let tally = on_threads(N_THREADS, |index| {
        let (mut tally, mut buffer) = (Tally::default(), Vec::new());
        for _ in (index..options.connections).step_by(N_THREADS as usize) {
            let mut open = || {
                let mut link = Link::open(options.port, Some(&client))?;
                link.exchange(&request, &mut buffer)?;
                Ok(link.into_tcp())
            };
            match open().or_else(|_: Failure| open()) {
                Ok(tcp) => opened.lock().unwrap_or_else(PoisonError::into_inner).push(tcp),
                Err(failure) => tally.fail(&failure),
            }
        }
        tally
    })?;
    writeln!(io::stdout(), "ready")?;
    std::thread::sleep(Duration::from_secs_f64(options.seconds));

    let opened = opened.into_inner().unwrap_or_else(PoisonError::into_inner);
    let n_open = opened.into_iter().filter_map(|tcp| is_open(tcp).ok()).filter(|open| *open).count();
    let first_error = tally.first_error.unwrap_or_default();
    let errors = tally.errors;
    writeln!(io::stdout(), r#"{{"open":{n_open},"errors":{errors},"first_error":"{first_error}"}}"#)?;
    Ok(())
}

/// Whether the target still holds its end. What it sent meanwhile (session tickets) is read away.
fn is_open(mut tcp: TcpStream) -> io::Result<bool> {
    tcp.set_nonblocking(true)?;
    let mut buffer = [0; 4096];
    loop {
        match tcp.read(&mut buffer) {
            Ok(0) => return Ok(false),
            Ok(_) => {}
            Err(failure) if failure.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(failure) => return Err(failure),
        }
    }
}
