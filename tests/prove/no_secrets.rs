//! `no-secrets`: whatever callers do with their keys, no secret comes to lie anywhere: not in the database's files, its write-ahead log, the
//! spool, the logs, the sealed snapshot, nor in metrics, status pages, lists and records.
//!
//! Values that are long lie compressed in the database's files, and are not found there. So all of it is dumped, too, and what the dump
//! writes as hexadecimal digits is looked at as bytes.

mod needles;
mod people;

use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::dev::{Dev, RegionReady};
use harness::history::Served;
use harness::sql::Sql;
use harness::wait;
use serde_json::json;

use self::needles::{Needles, Seen, dumped, walk};
use self::people::{People, longest_run};
use crate::api::{Api, Issued};
use crate::claim::{Claim, Context, Run, Verdict, no_obstacle};

/// The mutant: one secret is written into a log.
const PLANTED: &str = "planted";
/// The mutant: one secret lies in a table that nobody has thought of, in a value that is long enough to be compressed.
const PLANTED_ROW: &str = "planted-row";
/// Where the text of the standing credentials lies by design.
const BY_DESIGN: [&str; 4] = ["secrets", "operator-token", "api-key", "ready.json"];
/// How long the loader may take to bring the last record.
const LOADED_WITHIN: Duration = Duration::from_secs(30);

pub(crate) const CLAIM: Claim = Claim {
    slug: "no-secrets",
    promise: "after keys were issued, rolled, lent, used and misused, and people signed in and had their programs told, no file, dump, record, list or metric holds a secret",
    trials: 1_000,
    mutants: &[PLANTED, PLANTED_ROW],
    obstacle: no_obstacle,
    run: |context, verdict| -> Run<'_> { Box::pin(run(context, verdict)) },
};

/// What a secret is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Key,
    AccessToken,
    ImportedKey,
    Password,
    Session,
    Link,
    Totp,
    Recovery,
    PersonalToken,
    Webhook,
    /// The credentials that a deployment in development comes with, which lie in files by design.
    Standing,
    /// No secret: an id, which is found if the search sees what it should.
    Id,
}

impl Kind {
    const SECRET: [(Self, &'static str); 11] = [
        (Self::Key, "keys"),
        (Self::AccessToken, "access_tokens"),
        (Self::ImportedKey, "imported_keys"),
        (Self::Password, "passwords"),
        (Self::Session, "sessions"),
        (Self::Link, "links"),
        (Self::Totp, "totp"),
        (Self::Recovery, "recovery_codes"),
        (Self::PersonalToken, "personal_tokens"),
        (Self::Webhook, "webhooks"),
        (Self::Standing, "standing"),
    ];
}

/// A secret's text, as far as it is of letters and digits, in one of the forms in which it could lie somewhere.
type Secret = (Kind, String);

async fn run(context: &mut Context, verdict: &mut Verdict) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("causeway-secrets-").tempdir()?;
    let dev = Dev::start_in(folder.path()).await?;
    let api = Api::of(dev.ready())?;
    let region = dev.writer()?;
    let mut texts: Vec<Secret> = Vec::new();
    let part = |text: &str| (Kind::Key, secret_part(text).to_owned());
    for number in 0..context.trials {
        let key = api.issue(region, &format!("key {number}")).await?;
        texts.push((Kind::Id, key.id.clone()));
        if number % 2 == 0 {
            let rolled = api.post_control(region, &format!("/v1/keys/{}/roll", key.id), &json!({ "overlap": 60 })).await?;
            texts.push(part(rolled.json().get("secret").and_then(|secret| secret.as_str()).context("no secret")?));
        }
        texts.push(part(&key.secret));
        if number % 10 == 0 {
            misuse(&api, region, &key).await?;
            texts.extend(imported(&api, region, &key).await?.map(|text| (Kind::ImportedKey, text)));
            texts.extend(lent(&api, region, &key).await?.into_iter().map(|text| (Kind::AccessToken, text)));
        }
    }
    let (_, planted) = texts.iter().find(|(kind, _)| *kind == Kind::Key).context("no key")?;
    if context.is_mutant(PLANTED) {
        std::fs::write(folder.path().join("planted.log"), format!("key={planted}\n"))?;
    }
    let sql = Sql::open(region.postgres_port, &dev.reader()?.postgres_data_dir)?;
    if context.is_mutant(PLANTED_ROW) {
        let row = format!(
            "create table planted as select convert_to(repeat('x', 9000) || '{planted}', 'UTF8') || decode(repeat('78', 9000), 'hex') as value"
        );
        sql.ask("causeway", &row).await?;
    }
    let mut people = People::of(&dev)?;
    people.sign_in(&api, region).await?;
    people.have_told().await?;
    loaded(&api, region).await?;

    texts.append(&mut people.secrets);
    texts.extend([&dev.ready().operator_token, &dev.ready().api_key].map(|text| (Kind::Standing, secret_part(text).to_owned())));
    let needles = Needles::of(&texts);
    told(&api, &dev, &needles, verdict).await?;
    let mut seen = Seen::default();
    walk(folder.path(), folder.path(), &needles, &mut seen)?;
    for (place, needle) in &seen.hits {
        let kind = needles.kind(*needle);
        let is_by_design = kind == Kind::Standing && BY_DESIGN.iter().any(|name| place.iter().any(|part| part == *name));
        let is_found = kind != Kind::Id && !is_by_design;
        verdict.trials_of(0, u64::from(is_found), || format!("{} holds secret number {needle}, of the {kind:?} kind", place.display()));
    }
    let dump = sql.dump("causeway").await?;
    let in_dump = dumped(&dump, &needles);
    for needle in &in_dump {
        let kind = needles.kind(*needle);
        verdict.trials_of(0, u64::from(kind != Kind::Id), || format!("the dump holds secret number {needle}, of the {kind:?} kind"));
    }

    let count = |wanted: Kind| texts.iter().filter(|(kind, _)| *kind == wanted).count();
    let n_secrets: usize = Kind::SECRET.iter().map(|(kind, _)| count(*kind)).sum();
    verdict.trials_of(n_secrets as u64, 0, String::new);
    // The search finds what is there: every id lies in the database's files, and in the dump.
    let ids = count(Kind::Id);
    let found: HashSet<_> = seen.hits.iter().map(|(_, needle)| *needle).filter(|needle| needles.kind(*needle) == Kind::Id).collect();
    let ids_in_dump = in_dump.iter().filter(|needle| needles.kind(**needle) == Kind::Id).count();
    for found in [found.len(), ids_in_dump] {
        ensure!(found == ids, "only {found} of {ids} ids were found: the search does not see what it should");
    }
    verdict.figure("secrets", n_secrets);
    for (kind, name) in Kind::SECRET {
        ensure!(count(kind) > 0, "there are no {name} to look for");
        verdict.figure(name, count(kind));
    }
    verdict.figure("files", seen.files);
    verdict.figure("mib", seen.bytes >> 20);
    verdict.figure("dump_kib", dump.len() >> 10);
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

/// Has a token made that stands for the key, and uses and misuses it: the signature is what makes it one.
async fn lent(api: &Api, region: &RegionReady, key: &Issued) -> Result<Vec<String>> {
    let form = format!("grant_type=client_credentials&client_id={}&client_secret={}", key.id, key.secret);
    let given = api.post_form(region, "/oauth/token", &form).await?;
    let token =
        given.json().get("access_token").and_then(|token| token.as_str()).with_context(|| format!("no token: {}", given.summary()))?.to_owned();
    let bearer = format!("Bearer {token}");
    let cookie = format!("token={token}");
    for (path, fields) in [
        ("/demo/v1/echo".to_owned(), vec![("authorization", bearer.as_str())]),
        ("/demo/v1/echo".to_owned(), vec![("x-api-key", token.as_str()), ("cookie", cookie.as_str()), ("user-agent", token.as_str())]),
        (format!("/demo/v1/echo?access_token={token}"), vec![]),
        (format!("/demo/v1/{token}"), vec![("authorization", bearer.as_str())]),
    ] {
        api.get_with(region, &path, &fields).await?;
    }
    // In the place of an id, where the control plane records what was asked.
    api.post_control(region, &format!("/v1/keys/{token}/revoke"), &json!({})).await?;
    let [_, claims, signature] = token.split('.').collect::<Vec<_>>()[..] else { anyhow::bail!("a token of another form") };
    // One signature in some hundreds has no run that is long enough.
    let runs: Vec<_> = [claims, signature].into_iter().filter_map(longest_run).collect();
    ensure!(!runs.is_empty(), "a token without long runs");
    Ok(runs)
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
async fn told(api: &Api, dev: &Dev, needles: &Needles, verdict: &mut Verdict) -> Result<()> {
    for region in &dev.ready().regions {
        for path in [
            "/metrics",
            "/status",
            "/readyz?verbose",
            "/v1/keys?limit=200",
            "/v1/audit/events?limit=200",
            "/v1/nodes",
            "/v1/usage",
            "/v1/accounts?limit=200",
            "/v1/operators",
            "/v1/notifications?limit=200",
        ] {
            let answer = api.control(region, path).await?;
            ensure!(answer.status == 200, "{path} was answered {}", answer.summary());
            let mut hits = Vec::new();
            needles.find(answer.body.as_bytes(), |needle| hits.push(needle));
            verdict.trial(hits.iter().all(|needle| needles.kind(*needle) == Kind::Id), || format!("{path} of {} holds a secret", region.name));
        }
    }
    Ok(())
}

/// The part of a credential's text that authenticates: without prefix, id and checksum.
fn secret_part(text: &str) -> &str {
    let end = text.len().saturating_sub(6);
    text.get(end.saturating_sub(43)..end).unwrap_or(text)
}
