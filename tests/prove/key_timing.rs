//! `key-timing`: how long a refusal takes does not tell whether the id of a key exists.
//!
//! Requests with ids that exist and ids that do not, all with wrong secrets, come over one connection in an order by chance. If their
//! times were the same, each of the two would be the slower one as often: the share of pairs in which the known one is slower is held
//! against one half. Shares of ranks do not care for the few requests that something else has held up.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::client::Version;
use harness::frames::Wire;
use harness::seed::Random;
use model::key::{KeyId, Peppers, Purpose, issue, reissue};
use model::secret::SecretKey;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use crate::api::Api;
use crate::claim::{Claim, Context, Run, Verdict, no_obstacle};
use crate::ground::{self, Ground, Service};
use crate::neighbor;

/// The fewest requests of each kind.
const REQUESTS_MIN: u64 = 3_000;
/// Keys that exist: one alone could lie in a warm line of the cache.
const KEYS: usize = 64;
/// So far from one half the share may be beyond what chance explains: less than a tenth of a microsecond where requests take twenty.
const BIAS_MAX: f64 = 0.02;
/// Standard deviations that chance is given.
const DEVIATIONS: f64 = 4.0;
/// The mutant: requests with known ids carry more bytes, which takes some microseconds.
const HEAVIER: &str = "heavier";

pub(crate) const CLAIM: Claim = Claim {
    slug: "key-timing",
    promise: "how long a refusal takes does not tell whether a key's id exists (n: requests)",
    trials: 20_000,
    mutants: &[HEAVIER],
    obstacle: no_obstacle,
    run: |context, verdict| -> Run<'_> { Box::pin(run(context, verdict)) },
};

async fn run(context: &mut Context, verdict: &mut Verdict) -> Result<()> {
    let (listener, port) = ground::listener().await?;
    let _service = neighbor::service(listener);
    let mut guarded = Service::new("guarded", port);
    guarded.route = json!({ "auth": "api_key" });
    let mut document = ground::document(&[Service::new("open", port), guarded]);
    if let Some(members) = document.as_object_mut() {
        members.insert("consumers".to_owned(), json!([{ "name": "demo", "tenant": "demo" }]));
        members.insert("applications".to_owned(), json!([{ "name": "default", "consumer": "demo", "scopes": [] }]));
    }
    let ground = Ground::start("", &document, "/open/ready").await?;
    let api = Api::of(ground.dev.ready())?;
    let mut known = Vec::new();
    for number in 0..KEYS {
        let issued = api.issue(ground.dev.writer()?, &format!("timed {number}")).await?;
        known.push(KeyId::parse(&issued.id).context("not an id")?);
    }

    let n = usize::try_from(context.trials.max(REQUESTS_MIN))?;
    let mut wire = ground.door.connect(Version::Http1).await?;
    let padding = if context.is_mutant(HEAVIER) { "x".repeat(8 << 10) } else { String::new() };
    let (mut known_took, mut unknown_took) = (Vec::with_capacity(n), Vec::with_capacity(n));
    let mut odd = 0_u64;
    // The first requests find the connection, the caches and the processor cold.
    for turn in 0..2 * n + 500 {
        let is_known = context.random.below(2) == 0;
        let more = if is_known && !padding.is_empty() { format!("x-more: {padding}\r\n") } else { String::new() };
        let key = wrong(&mut context.random, is_known.then_some(&known))?;
        let request = format!("GET /guarded/x HTTP/1.1\r\nhost: 127.0.0.1\r\nx-api-key: {key}\r\n{more}\r\n");
        let began = Instant::now();
        wire.write_all(request.as_bytes()).await?;
        wire.flush().await?;
        let status = answer(&mut *wire).await?;
        let took = began.elapsed();
        odd += u64::from(status != 401);
        if turn >= 500 {
            if is_known { &mut known_took } else { &mut unknown_took }.push(took);
        }
    }
    let (known, unknown) = (known_took, unknown_took);
    let counted = (unknown.len() + known.len()) as u64;
    verdict.trials_of(counted, odd, || format!("{odd} requests with wrong secrets were not answered 401"));
    let (share, chance) = slower(&known, &unknown);
    let allowed = BIAS_MAX + DEVIATIONS * chance;
    verdict.trial((share - 0.5).abs() <= allowed, || {
        format!("a known id is the slower one in {share:.4} of all pairs; 0.5 would be right, and {allowed:.4} more or less is chance")
    });
    verdict.figure("slower_share", format!("{share:.4}"));
    verdict.figure("allowed", format!("{allowed:.4}"));
    verdict.figure("known_p50_us", micros(&known));
    verdict.figure("unknown_p50_us", micros(&unknown));
    ground.stop().await
}

/// A key whose checksum is right and whose secret is not, with an id that exists or with one that does not.
fn wrong(random: &mut Random, known: Option<&Vec<KeyId>>) -> Result<String> {
    let peppers = Peppers::new([(1, SecretKey::new([7; 32]))]).context("no peppers")?;
    let mut bytes = || -> [u8; 32] { std::array::from_fn(|_| u8::try_from(random.below(256)).unwrap_or_default()) };
    let (secret, id) = (bytes(), bytes());
    let issued = match known {
        None => loop {
            if let Some(issued) = issue(Purpose::Live, &peppers, &secret, &bytes()) {
                break issued;
            }
        },
        Some(known) => {
            let at = id.iter().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte))) % known.len().max(1);
            reissue(Purpose::Live, *known.get(at).context("no key")?, &peppers, &secret).context("no key")?
        }
    };
    Ok(issued.text.expose_secret().to_owned())
}

/// Reads one answer; its status.
async fn answer(wire: &mut dyn Wire) -> Result<u16> {
    let mut bytes = Vec::with_capacity(2_048);
    loop {
        ensure!(wire.read_buf(&mut bytes).await? > 0, "the connection ended");
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4) else { continue };
        let head = String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok()).unwrap_or(0);
        if bytes.len() >= end + length {
            return head.get(9..12).and_then(|status| status.parse().ok()).context("no status");
        }
    }
}

/// The share of all pairs in which the first is the slower one, ties counted half (Mann and Whitney), and its standard deviation
/// where there is no difference.
#[expect(clippy::cast_precision_loss, reason = "counts of some ten thousands")]
fn slower(first: &[Duration], second: &[Duration]) -> (f64, f64) {
    let (n, m) = (first.len() as f64, second.len() as f64);
    let mut all: Vec<(Duration, bool)> = first.iter().map(|took| (*took, true)).chain(second.iter().map(|took| (*took, false))).collect();
    all.sort_unstable();
    let (mut sum, mut before) = (0.0, 0.0);
    for same in all.chunk_by(|a, b| a.0 == b.0) {
        let firsts = same.iter().filter(|(_, is_first)| *is_first).count() as f64;
        let seconds = same.len() as f64 - firsts;
        sum += firsts * (before + seconds / 2.0);
        before += seconds;
    }
    (sum / (n * m), ((n + m + 1.0) / (12.0 * n * m)).sqrt())
}

fn micros(times: &[Duration]) -> String {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).map_or_else(|| "none".to_owned(), |took| format!("{:.1}", took.as_secs_f64() * 1e6))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_slower_pairs_is_counted_with_ties() {
        let of = |list: &[u64]| list.iter().map(|us| Duration::from_micros(*us)).collect::<Vec<_>>();
        for (first, second, expected) in [
            (of(&[1, 2, 3]), of(&[1, 2, 3]), 0.5),
            (of(&[4, 5]), of(&[1, 2, 3]), 1.0),
            (of(&[1]), of(&[2, 3]), 0.0),
            (of(&[1, 3]), of(&[2, 2]), 0.5),
            (of(&[2, 2]), of(&[2, 2, 2]), 0.5),
        ] {
            assert!((slower(&first, &second).0 - expected).abs() < 1e-9, "{first:?} {second:?}");
        }
    }
}
