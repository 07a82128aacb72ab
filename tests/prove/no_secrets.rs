//! `no-secrets`: whatever callers do with their keys, no secret comes to lie anywhere: not in the database's files, its write-ahead log, the
//! spool, the logs, the sealed snapshot, nor in metrics, status pages, lists and records.

mod people;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::dev::{Dev, RegionReady};
use harness::history::Served;
use harness::wait;
use serde_json::json;

use self::people::People;
use crate::api::{Api, Issued};
use crate::claim::{Claim, Context, Run, Verdict, no_obstacle};

/// The mutant: one secret is written into a log.
const PLANTED: &str = "planted";
/// How many bytes of a text are looked up before it is compared.
const HEAD: usize = 8;
/// Where the text of the standing credentials lies by design.
const BY_DESIGN: [&str; 4] = ["secrets", "operator-token", "api-key", "ready.json"];
/// How long the loader may take to bring the last record.
const LOADED_WITHIN: Duration = Duration::from_secs(30);

pub(crate) const CLAIM: Claim = Claim {
    slug: "no-secrets",
    promise: "after keys were issued, rolled, used and misused, and people signed in with codes, no file, record, list or metric holds a secret",
    trials: 1_000,
    mutants: &[PLANTED],
    obstacle: no_obstacle,
    run: |context, verdict| -> Run<'_> { Box::pin(run(context, verdict)) },
};

async fn run(context: &mut Context, verdict: &mut Verdict) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("causeway-secrets-").tempdir()?;
    let dev = Dev::start_in(folder.path()).await?;
    let api = Api::of(dev.ready())?;
    let region = dev.writer()?;
    let mut secrets = Vec::new();
    let mut ids = Vec::new();
    for number in 0..context.trials {
        let key = api.issue(region, &format!("key {number}")).await?;
        ids.push(key.id.clone());
        if number % 2 == 0 {
            let rolled = api.post_control(region, &format!("/v1/keys/{}/roll", key.id), &json!({ "overlap": 60 })).await?;
            secrets.push(rolled.json().get("secret").and_then(|secret| secret.as_str()).context("no secret")?.to_owned());
        }
        secrets.push(key.secret.clone());
        if number % 10 == 0 {
            misuse(&api, region, &key).await?;
            secrets.extend(imported(&api, region, &key).await?);
        }
    }
    if context.is_mutant(PLANTED) {
        std::fs::write(folder.path().join("planted.log"), format!("key={}\n", secrets.first().context("no key")?))?;
    }
    let mut people = People::of(&dev)?;
    people.sign_in(&api, region).await?;
    loaded(&api, region).await?;

    let standing = [dev.ready().operator_token.clone(), dev.ready().api_key.clone()];
    let of_people = people.secrets.iter().map(String::as_str);
    let texts = secrets.iter().map(|text| secret_part(text)).chain(of_people).chain(standing.iter().map(|text| secret_part(text)));
    let texts: Vec<&str> = texts.chain(ids.iter().map(String::as_str)).collect();
    let needles = Needles::of(&texts);
    let n_not_standing = secrets.len() + people.secrets.len();
    let n_secrets = n_not_standing + standing.len();
    told(&api, &dev, &needles, n_secrets, verdict).await?;
    let mut seen = Seen::default();
    walk(folder.path(), folder.path(), &needles, &mut seen)?;
    for (place, needle) in &seen.hits {
        let is_secret = *needle < n_secrets;
        let is_by_design = *needle >= n_not_standing && BY_DESIGN.iter().any(|name| place.iter().any(|part| part == *name));
        verdict.trials_of(0, u64::from(is_secret && !is_by_design), || format!("{} holds secret number {needle}", place.display()));
    }
    verdict.trials_of(n_secrets as u64, 0, String::new);
    // The search finds what is there: every id lies in the database's files.
    let found: std::collections::HashSet<_> = seen.hits.iter().map(|(_, needle)| *needle).filter(|needle| *needle >= n_secrets).collect();
    ensure!(found.len() == ids.len(), "only {} of {} ids were found: the search does not see what it should", found.len(), ids.len());
    verdict.figure("secrets", n_secrets);
    verdict.figure("files", seen.files);
    verdict.figure("mib", seen.bytes >> 20);
    verdict.figure("ids_found", found.len());
    dev.stop().await
}

/// What people do with keys: the right thing in both ways, and everything that ends in a log elsewhere.
async fn misuse(api: &Api, region: &RegionReady, key: &Issued) -> Result<()> {
    let secret = key.secret.as_str();
    api.settles(region, secret, Served::Yes, Duration::from_secs(5), Duration::ZERO).await.took.context("a new key does not work")?;
    let bearer = format!("Bearer {secret}");
    let basic = format!("Basic {secret}");
    let quoted = format!("\"{secret}\"");
    let (cookie, agent) = (format!("session={secret}"), format!("curl/8 {secret}"));
    let encoded = secret.replace('_', "%5F");
    for (path, fields) in [
        ("/demo/v1/echo".to_owned(), vec![("authorization", bearer.as_str())]),
        ("/demo/v1/echo".to_owned(), vec![("authorization", basic.as_str())]),
        ("/demo/v1/echo".to_owned(), vec![("x-api-key", quoted.as_str())]),
        ("/demo/v1/echo".to_owned(), vec![("x-api-key", secret), ("cookie", cookie.as_str())]),
        ("/demo/v1/echo".to_owned(), vec![("x-api-key", secret), ("user-agent", agent.as_str())]),
        ("/demo/v1/echo".to_owned(), vec![("x-api-key", secret), ("x-request-id", secret)]),
        ("/demo/v1/echo".to_owned(), vec![("x-api-key", secret), ("traceparent", secret)]),
        ("/demo/v1/echo".to_owned(), vec![("x-api-key", secret), ("referer", secret)]),
        (format!("/demo/v1/echo?api_key={secret}"), vec![]),
        (format!("/demo/v1/echo?api_key={encoded}"), vec![]),
        (format!("/demo/v1/{secret}"), vec![("x-api-key", secret)]),
        (format!("/demo/v1/{encoded}"), vec![("x-api-key", secret)]),
    ] {
        api.get_with(region, &path, &fields).await?;
    }
    // The control listener, too: a whole key where an id should be.
    for path in [format!("/v1/keys/{secret}"), format!("/v1/audit/events?key={secret}"), format!("/v1/usage?key={secret}")] {
        api.control(region, &path).await?;
    }
    api.post_control(region, "/v1/keys", &json!({ "name": "twice", "secret": secret })).await?;
    Ok(())
}

/// Takes over keys of another system, and sends them: neither their texts nor their hashes may come to lie anywhere.
async fn imported(api: &Api, region: &RegionReady, key: &Issued) -> Result<[String; 4]> {
    let text = format!("kong{}", secret_part(&key.secret).chars().rev().collect::<String>());
    let hash = data_encoding::HEXLOWER.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes()).as_ref());
    let slow = text.replace("kong", "zkong");
    let (prefix, slow_hash) = (slow.get(..9).context("a short text")?, harness::bcrypt::hash(&slow, 4, 7));
    let entries = [
        json!({ "source_id": key.id, "hash": hash }),
        json!({ "source_id": format!("{}-slow", key.id), "algorithm": "bcrypt", "prefix": prefix, "hash": slow_hash }),
    ];
    let answer = api.post_control(region, "/v1/keys/import", &json!({ "application": "default", "from": "kong", "keys": entries })).await?;
    ensure!(
        answer.json().get("imported").and_then(serde_json::Value::as_u64) == Some(2),
        "an import was answered {}: {}",
        answer.status,
        answer.body
    );
    let bearer = format!("Bearer {text}");
    for field in [("x-api-key", text.as_str()), ("authorization", &bearer), ("x-api-key", slow.as_str())] {
        api.get_with(region, "/demo/v1/echo", &[field]).await?;
    }
    Ok([text, hash, slow, slow_hash])
}

/// Waits until the records of all that are in the database.
async fn loaded(api: &Api, region: &RegionReady) -> Result<()> {
    let mark = format!("no-secrets-{}", std::process::id());
    api.get_with(region, "/demo/v1/echo", &[("x-request-id", &mark)]).await?;
    let path = format!("/v1/audit/events?request_id={mark}");
    wait::until("the last record", LOADED_WITHIN, async || {
        api.control(region, &path)
            .await
            .is_ok_and(|answer| answer.json().get("items").and_then(|items| items.as_array()).is_some_and(|items| !items.is_empty()))
    })
    .await?;
    Ok(())
}

/// What the control listeners tell.
async fn told(api: &Api, dev: &Dev, needles: &Needles, n_secrets: usize, verdict: &mut Verdict) -> Result<()> {
    for region in &dev.ready().regions {
        for path in ["/metrics", "/status", "/readyz?verbose", "/v1/keys?limit=200", "/v1/audit/events?limit=200", "/v1/nodes", "/v1/usage"] {
            let answer = api.control(region, path).await?;
            ensure!(answer.status == 200, "{path} was answered {}", answer.summary());
            let mut hits = Vec::new();
            needles.find(answer.body.as_bytes(), |needle| hits.push(needle));
            verdict.trial(hits.iter().all(|needle| *needle >= n_secrets), || format!("{path} of {} holds a secret", region.name));
        }
    }
    Ok(())
}

/// The part of a credential's text that authenticates: without prefix, id and checksum.
fn secret_part(text: &str) -> &str {
    let end = text.len().saturating_sub(6);
    text.get(end.saturating_sub(43)..end).unwrap_or(text)
}

/// What is looked for.
struct Needles {
    texts: Vec<Vec<u8>>,
    by_head: HashMap<[u8; HEAD], Vec<usize>>,
}

impl Needles {
    fn of(texts: &[&str]) -> Self {
        let texts: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
        let mut by_head: HashMap<[u8; HEAD], Vec<usize>> = HashMap::new();
        for (number, text) in texts.iter().enumerate() {
            if let Some(head) = text.first_chunk() {
                by_head.entry(*head).or_default().push(number);
            }
        }
        Self { texts, by_head }
    }

    fn find(&self, bytes: &[u8], mut each: impl FnMut(usize)) {
        for (at, window) in bytes.windows(HEAD).enumerate() {
            // Texts are of letters and digits: most bytes of a file are not.
            let Some(head) = window.first_chunk().filter(|head: &&[u8; HEAD]| head.iter().all(u8::is_ascii_alphanumeric)) else { continue };
            let rest = bytes.get(at..).unwrap_or_default();
            for number in self.by_head.get(head).into_iter().flatten() {
                if self.texts.get(*number).is_some_and(|text| rest.starts_with(text)) {
                    each(*number);
                }
            }
        }
    }
}

/// What a walk has seen.
#[derive(Debug, Default)]
struct Seen {
    files: u64,
    bytes: u64,
    hits: Vec<(PathBuf, usize)>,
}

fn walk(root: &Path, folder: &Path, needles: &Needles, seen: &mut Seen) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        // A file may be gone before it is read: the servers are running.
        let Ok(kind) = std::fs::symlink_metadata(&path) else { continue };
        if kind.is_dir() {
            walk(root, &path, needles, seen)?;
        } else if kind.is_file() {
            let Ok(bytes) = std::fs::read(&path) else { continue };
            seen.files += 1;
            seen.bytes += bytes.len() as u64;
            let place = path.strip_prefix(root).unwrap_or(&path).to_path_buf();
            needles.find(&bytes, |needle| seen.hits.push((place.clone(), needle)));
        }
    }
    Ok(())
}
