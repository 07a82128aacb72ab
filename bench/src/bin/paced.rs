//! HTTP/1.1 load at a fixed rate, to measure latency without hiding it.
//!
//! `paced --port 8443 --connections 32 --rate 10000 --seconds 3 --header 'x-api-key: …'` prints one line of JSON.
//!
//! Every request has a planned time that does not depend on earlier answers. A request whose connection was still busy
//! at that time is timed from the plan, so a stall counts for every request that it delayed (no coordinated omission).
//! A request that could leave on time is timed from when it left: the generator's own late wake-up (tens of
//! microseconds) is not the proxy's.

use std::io::Write;
use std::time::{Duration, Instant};

use bench_tools::{Failure, Link, Options, Tally, Transport, on_threads, tls_client};

fn main() -> Result<(), Failure> {
    // 1 us instead of the usual 50 us of slack for sleeping threads; new threads inherit it. Failing is harmless.
    let _ = std::fs::write("/proc/self/timerslack_ns", "1000");
    let options = Options::from_args()?;
    let client = match options.tls {
        Transport::Tls => Some(tls_client()?),
        Transport::Plain => None,
    };
    let request = options.request("");
    let step = Duration::from_secs_f64(f64::from(options.connections) / options.rate);
    let begin = Instant::now() + Duration::from_millis(100);
    let counted_from = begin + Duration::from_secs_f64(options.warmup_seconds);
    let end = counted_from + Duration::from_secs_f64(options.seconds);

    let tally = on_threads(options.connections, |index| {
        let mut tally = Tally::default();
        let mut link = None;
        let mut buffer = Vec::new();
        let mut planned = begin + step.mul_f64(f64::from(index) / f64::from(options.connections));
        while planned < end {
            let now = Instant::now();
            let timed_from = if now < planned {
                std::thread::sleep(planned - now);
                Instant::now()
            } else {
                planned
            };
            match one(&mut link, &options, client.as_ref(), &request, &mut buffer) {
                Ok(()) if planned >= counted_from => {
                    tally.nanos.push(u64::try_from(timed_from.elapsed().as_nanos()).unwrap_or(u64::MAX));
                }
                Ok(()) => {}
                Err(failure) => {
                    link = None;
                    tally.fail(&failure);
                }
            }
            planned += step;
        }
        tally
    })?;

    // An overloaded target finishes late: its rate is over the time that it took.
    let took = counted_from.elapsed().as_secs_f64().max(options.seconds);
    writeln!(std::io::stdout(), "{}", tally.json(took))?;
    Ok(())
}

fn one(
    link: &mut Option<Link>,
    options: &Options,
    client: Option<&std::sync::Arc<rustls::ClientConfig>>,
    request: &[u8],
    buffer: &mut Vec<u8>,
) -> Result<(), Failure> {
    let open = match link.take() {
        Some(open) => open,
        None => Link::open(options.port, client)?,
    };
    link.insert(open).exchange(request, buffer)
}
