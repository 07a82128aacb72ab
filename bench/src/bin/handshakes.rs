//! Full TLS 1.3 handshakes: connect, shake hands without resumption, one GET, close; over and over.
//!
//! `handshakes --port 8443 --connections 16 --seconds 2 --header 'x-api-key: …'` prints one line of JSON. A request's time
//! runs from `connect` to the last byte of the response.

use std::io::Write;
use std::time::{Duration, Instant};

use bench_tools::{Failure, Link, Options, Tally, on_threads, tls_client};

fn main() -> Result<(), Failure> {
    let options = Options::from_args()?;
    let client = tls_client()?;
    let request = options.request("connection: close");
    let started = Instant::now();
    let end = started + Duration::from_secs_f64(options.seconds);

    let tally = on_threads(options.connections, |_| {
        let mut tally = Tally::default();
        let mut buffer = Vec::new();
        while Instant::now() < end {
            let begin = Instant::now();
            match Link::open(options.port, Some(&client)).and_then(|mut link| link.exchange(&request, &mut buffer)) {
                Ok(()) => tally.nanos.push(u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX)),
                Err(failure) => tally.fail(&failure),
            }
        }
        tally
    })?;

    let line = tally.json(started.elapsed().as_secs_f64());
    writeln!(std::io::stdout(), "{line}")?;
    Ok(())
}
