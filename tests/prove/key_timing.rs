//! `key-timing`: how long a refusal takes does not tell whether the id of a key exists.
//!
//! Requests with ids that exist and ids that do not, all with wrong secrets, come over one connection in an order by chance. If their
//! times were the same, each of the two would be the slower one as often: the share of pairs in which the known one is slower is held
//! against one half. Shares of ranks do not care for the few requests that something else has held up.

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
use crate::timing::{Share, micros};

/// The fewest requests of each kind.
const REQUESTS_MIN: u64 = 3_000;
/// Keys that exist: one alone could lie in a warm line of the cache.
const KEYS: usize = 64;
/// So far from one half the share may be beyond what chance explains: less than a tenth of a microsecond where requests take twenty.
const BIAS_MAX: f64 = 0.02;
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
    let compared = Share::of(&known, &unknown, BIAS_MAX);
    let Share { slower, allowed, .. } = compared;
    verdict.trial(compared.is_even(), || {
        format!("a known id is the slower one in {slower:.4} of all pairs; 0.5 would be right, and {allowed:.4} more or less is chance")
    });
    verdict.figure("slower_share", format!("{slower:.4}"));
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
