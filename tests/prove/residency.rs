//! `residency`: a request arrives at no service in a region in which its data may not lie, whichever services are down; and what a lawful
//! region can serve is served.
//!
//! Three services in three regions note what arrives. Two gateways send it, each from its own region. What is lawful stands here, apart
//! from the document and from what the admin API is told of the consumers, some of which ask for labels, too. One of them asks for others
//! every now and then.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures_util::future::join_all;
use harness::client::{self, Version};
use harness::dev::{self, Dev};
use harness::fault::Proxy;
use harness::seed::Random;
use harness::upstream::{Behavior, Recorder};
use harness::wait;
use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::claim::{Claim, Context, Run, Verdict, no_obstacle};
use crate::figures::share;

/// The regions, the one that takes writes first, and the labels of each.
const REGIONS: [(&str, &[&str]); 3] = [("eu-west", &["eu", "west"]), ("us-east", &["us", "west"]), ("ap-south", &["ap"])];
/// Requests at the same time.
const PARALLEL: usize = 16;
/// Requests for each set of services that is down, at least: every route has some among them.
const REQUESTS_MIN: u64 = 80;
/// The longest that one request may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
const SERVED_WITHIN: Duration = Duration::from_secs(20);
/// The mutants: the document gives a region a label that it has not; consumers are made without their labels; the one that moves does not.
const WRONG_LABEL: &str = "wrong-label";
const NO_LABELS: &str = "consumers-without-labels";
const NOT_MOVED: &str = "labels-not-changed";

/// A route of the claim: its name, the labels that it asks for, those that its service asks for, and whether it takes writes and keys.
struct Route {
    name: &'static str,
    labels: &'static [&'static str],
    upstream: &'static str,
    takes_writes: bool,
    takes_keys: bool,
}

const ROUTES: [Route; 11] = [
    Route { name: "any", labels: &[], upstream: "everywhere", takes_writes: true, takes_keys: false },
    Route { name: "eu", labels: &["eu"], upstream: "everywhere", takes_writes: true, takes_keys: false },
    Route { name: "us", labels: &["us"], upstream: "everywhere", takes_writes: false, takes_keys: false },
    Route { name: "ap", labels: &["ap"], upstream: "everywhere", takes_writes: false, takes_keys: false },
    Route { name: "west", labels: &["west"], upstream: "everywhere", takes_writes: true, takes_keys: false },
    Route { name: "service", labels: &[], upstream: "western", takes_writes: true, takes_keys: false },
    // Of what both allow, one region is left.
    Route { name: "both", labels: &["us", "ap"], upstream: "western", takes_writes: false, takes_keys: false },
    // The same in short with consumers.
    Route { name: "keyed", labels: &[], upstream: "everywhere", takes_writes: true, takes_keys: true },
    Route { name: "keyed-eu", labels: &["eu"], upstream: "everywhere", takes_writes: false, takes_keys: true },
    Route { name: "keyed-service", labels: &[], upstream: "western", takes_writes: true, takes_keys: true },
    Route { name: "keyed-both", labels: &["us", "ap"], upstream: "western", takes_writes: false, takes_keys: true },
];

/// The consumers, and the labels that each asks for. The last one asks for others at each set of services that is down.
const CONSUMERS: [(&str, &[&str]); 4] = [("free", &[]), ("eu-only", &["eu"]), ("us-or-ap", &["us", "ap"]), ("moving", &[])];
const MOVES: [&[&str]; 4] = [&["eu"], &["us"], &["ap"], &[]];

pub(crate) const CLAIM: Claim = Claim {
    slug: "residency",
    promise: "no request arrives in a region in which its data, or its caller's, may not lie, whatever is down, and what a lawful region can serve is served",
    trials: 1_500,
    mutants: &[WRONG_LABEL, NO_LABELS, NOT_MOVED],
    obstacle: no_obstacle,
    run: |context, verdict| -> Run<'_> { Box::pin(run(context, verdict)) },
};

impl Route {
    /// What the claim says, whatever the document does.
    fn is_lawful(&self, region: usize, caller: &[&str]) -> bool {
        let Some((_, has)) = REGIONS.get(region) else { return false };
        let asks = |labels: &[&str]| labels.is_empty() || labels.iter().any(|label| has.contains(label));
        asks(self.labels) && (self.upstream != "western" || asks(&["west"])) && asks(caller)
    }
}

/// A service of a region, and the line to it.
struct Place {
    service: Recorder,
    line: Proxy,
}

/// A consumer as it calls.
struct Caller {
    key: String,
    labels: &'static [&'static str],
}

/// One request, and what came of it.
struct Asked {
    route: usize,
    /// What its consumer asks for; nothing where nobody asks who calls.
    labels: &'static [&'static str],
    is_write: bool,
    id: String,
    status: u16,
    code: String,
    /// The services that were up, by region.
    up: [bool; 3],
}

async fn run(context: &mut Context, verdict: &mut Verdict) -> Result<()> {
    let dev = Dev::start().await?;
    let mut places = Vec::new();
    for (name, _) in REGIONS {
        let service = Recorder::start(Behavior::ok(name)).await?;
        let line = Proxy::to(service.address()).await?;
        places.push(Place { service, line });
    }
    apply(&dev, &document(&places, context.is_mutant(WRONG_LABEL))).await?;
    let http = client::http(&dev.ready().ca, Version::Http2)?;
    let doors: Vec<String> = dev.ready().regions.iter().map(|region| region.data.clone()).collect();
    for door in &doors {
        let url = format!("{door}/any/ready");
        wait::until("the routes", SERVED_WITHIN, async || http.get(&url).send().await.is_ok_and(|answer| answer.status() == 200)).await?;
    }

    let mut callers = callers(&dev, &http, context.is_mutant(NO_LABELS)).await?;
    let mut asked = Vec::new();
    let phases = 8;
    for (phase, moves) in (0..phases).zip(MOVES.into_iter().cycle()) {
        if let Some(moving) = callers.last_mut() {
            moving.labels = moves;
        }
        if !context.is_mutant(NOT_MOVED) {
            move_to(&dev, &http, moves).await?;
        }
        // Every set of services that is down, all and none among them.
        let up = [phase & 1 == 0, phase & 2 == 0, phase & 4 == 0];
        for (place, is_up) in places.iter().zip(up) {
            if is_up {
                place.line.heal();
            } else {
                place.line.refuse();
                place.line.cut();
            }
        }
        // An endpoint that was down rests for a second.
        for (label, is_up) in ["eu", "us", "ap"].into_iter().zip(up) {
            for url in doors.iter().map(|door| format!("{door}/{label}/ready")).filter(|_| is_up) {
                wait::until(&url, SERVED_WITHIN, async || http.get(&url).send().await.is_ok_and(|answer| answer.status() == 200)).await?;
            }
        }
        let requests = (context.trials / phases).max(REQUESTS_MIN);
        asked.extend(ask(&http, &doors, &callers, &mut context.random, requests, up).await);
    }
    judge(context, verdict, &asked, &places);
    crossings(&dev, verdict, &asked).await?;
    drop(http);
    dev.stop().await
}

/// Makes the consumers, each with a key, through the admin API.
async fn callers(dev: &Dev, http: &Client, is_unbound: bool) -> Result<Vec<Caller>> {
    let mut callers = Vec::new();
    for (name, labels) in CONSUMERS {
        let asked = (!labels.is_empty() && !is_unbound).then_some(labels);
        told(dev, http, Method::POST, "/v1/consumers", json!({ "name": name, "residency": asked })).await?;
        told(dev, http, Method::POST, "/v1/applications", json!({ "name": name, "consumer": name })).await?;
        let key = told(dev, http, Method::POST, "/v1/keys", json!({ "name": name, "application": name })).await?;
        reached(dev, http, &key).await?;
        let key = key.get("secret").and_then(Value::as_str).context("no secret")?.to_owned();
        callers.push(Caller { key, labels });
    }
    Ok(callers)
}

/// Lets the last consumer ask for other labels, and waits until both nodes know.
async fn move_to(dev: &Dev, http: &Client, labels: &[&str]) -> Result<()> {
    let asked = (!labels.is_empty()).then_some(labels);
    let changed = told(dev, http, Method::PATCH, "/v1/consumers/moving", json!({ "residency": asked })).await?;
    reached(dev, http, &changed).await
}

/// Tells the admin API something, as the operator.
async fn told(dev: &Dev, http: &Client, method: Method, path: &str, body: Value) -> Result<Value> {
    let request = http.request(method, format!("{}{path}", dev.writer()?.control)).bearer_auth(&dev.ready().operator_token);
    let answer = request.header("content-type", "application/json").body(body.to_string()).send().await?;
    let (status, text) = (answer.status(), answer.text().await?);
    ensure!(status.is_success(), "{path} was answered {status}: {text}");
    Ok(serde_json::from_str(&text)?)
}

/// Waits until every node has in force what a change was answered with.
async fn reached(dev: &Dev, http: &Client, answer: &Value) -> Result<()> {
    let revision = answer.pointer("/revision/authority").and_then(Value::as_u64).context("no revision")?;
    for region in &dev.ready().regions {
        let is_there = async || {
            let request = http.get(format!("{}/status", region.control)).bearer_auth(&dev.ready().operator_token);
            let Ok(answer) = request.send().await else { return false };
            let status: Value = serde_json::from_str(&answer.text().await.unwrap_or_default()).unwrap_or_default();
            status.pointer("/node/authority_revision").and_then(Value::as_u64).is_some_and(|there| there >= revision)
        };
        wait::until("a change on every node", SERVED_WITHIN, is_there).await?;
    }
    Ok(())
}

async fn ask(http: &Client, doors: &[String], callers: &[Caller], random: &mut Random, requests: u64, up: [bool; 3]) -> Vec<Asked> {
    let mut asked = Vec::new();
    let mut left = requests;
    while left > 0 {
        let batch = left.min(PARALLEL as u64);
        left -= batch;
        let drawn: Vec<(usize, bool, Option<&Caller>, String, String)> = (0..batch)
            .filter_map(|_| {
                let index = usize::try_from(random.below(ROUTES.len() as u64)).ok()?;
                let route = ROUTES.get(index)?;
                let is_write = route.takes_writes && random.below(4) == 0;
                let door = doors.get(usize::try_from(random.below(doors.len() as u64)).ok()?)?;
                let caller = callers.get(usize::try_from(random.below(callers.len() as u64)).ok()?).filter(|_| route.takes_keys);
                let id = format!("{:016x}", random.next_u64());
                let url = format!("{door}/{}/{id}", route.name);
                Some((index, is_write, caller, id, url))
            })
            .collect();
        let answers = drawn.into_iter().map(async |(route, is_write, caller, id, url)| {
            let request = if is_write { http.post(&url).body("{}") } else { http.get(&url) };
            let request = caller.into_iter().fold(request, |request, caller| request.header("x-api-key", &caller.key));
            let labels: &[&str] = caller.map_or(&[], |caller| caller.labels);
            let answer = request.header("x-request-id", &id).timeout(ANSWER_WITHIN).send().await.ok();
            let status = answer.as_ref().map_or(0, |answer| answer.status().as_u16());
            let text = match answer {
                Some(answer) => answer.text().await.unwrap_or_default(),
                None => String::new(),
            };
            let code = serde_json::from_str::<Value>(&text).ok().and_then(|body| Some(body.get("code")?.as_str()?.to_owned())).unwrap_or_default();
            Asked { route, labels, is_write, id, status, code, up }
        });
        asked.extend(join_all(answers).await);
    }
    asked
}

fn judge(context: &Context, verdict: &mut Verdict, asked: &[Asked], places: &[Place]) {
    // Where each request was seen, copies of it among them.
    let mut seen: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (region, place) in places.iter().enumerate() {
        for request in place.service.seen() {
            let id = request.target.rsplit('/').next().unwrap_or_default().to_owned();
            seen.entry(id).or_default().push(region);
        }
    }
    let (mut could, mut served, mut mismatches, mut by_consumer, mut elsewhere) = (0, 0, 0, 0, 0_u64);
    for request in asked {
        let Some(route) = ROUTES.get(request.route) else { continue };
        let regions = seen.get(&request.id).map(Vec::as_slice).unwrap_or_default();
        let unlawful = regions.iter().find(|region| !route.is_lawful(**region, request.labels));
        verdict.trial(unlawful.is_none(), || {
            let region = unlawful.and_then(|region| REGIONS.get(*region)).map_or("?", |(name, _)| name);
            format!("/{}: a request of a caller that asks for {:?} was seen in {region}", route.name, request.labels)
        });
        elsewhere += u64::from(regions.iter().any(|region| *region != 0));
        let is_well = request.status == 200 && regions.len() == 1 || request.status >= 500;
        verdict.trials_of(0, u64::from(!is_well), || {
            format!("/{}: answered {} {} and seen {} times", route.name, request.status, request.code, regions.len())
        });
        mismatches += u64::from(request.code == "residency-mismatch");
        by_consumer += u64::from(request.code == "residency-mismatch" && route.takes_keys && !request.labels.is_empty());
        // Writes go to one region; reads to any that may.
        let can =
            |region: usize| request.up.get(region) == Some(&true) && route.is_lawful(region, request.labels) && (region == 0 || !request.is_write);
        if (0..REGIONS.len()).any(can) {
            could += 1;
            served += u64::from(request.status == 200);
        }
    }
    verdict
        .trials_of(0, u64::from(served * 100 < could * 95), || format!("{served} of {could} requests were served that a lawful region could serve"));
    if context.mutant.is_none() {
        verdict.trials_of(0, u64::from(mismatches == 0), || "nothing was refused because of where its data may lie".to_owned());
        verdict.trials_of(0, u64::from(by_consumer == 0), || "nothing was refused because of where a consumer's data may lie".to_owned());
    }
    verdict.figure("requests", asked.len());
    verdict.figure("served", share(served, could));
    verdict.figure("could_be_served", could);
    verdict.figure("refused_by_residency", mismatches);
    verdict.figure("refused_to_consumers_with_labels", by_consumer);
    verdict.figure("seen_beyond_the_writer_region", elsewhere);
}

/// Each request has its record, with the region that it went to, and the code of its refusal.
async fn crossings(dev: &Dev, verdict: &mut Verdict, asked: &[Asked]) -> Result<()> {
    let database = harness::sql::Sql::open(dev.writer()?.postgres_port, &dev.reader()?.postgres_data_dir)?;
    let refused: Vec<&Asked> = asked.iter().filter(|request| request.code == "residency-mismatch").collect();
    let count = async |what: &str| -> Result<usize> {
        let rows =
            database.ask("causeway", &format!("select count(distinct request_id) from audit_event where phase = 'outcome' and {what}")).await?;
        rows.concat().parse().context("a count")
    };
    let wanted = refused.len();
    let recorded = wait::until("the records of refusals", SERVED_WITHIN, async || {
        count("reason = 'residency-mismatch'").await.is_ok_and(|found| found >= wanted)
    })
    .await;
    let found = count("reason = 'residency-mismatch'").await?;
    verdict.trials_of(0, u64::from(recorded.is_err()), || format!("{found} of {wanted} refusals are in the access log"));
    let crossed = count(
        "convert_from(event, 'UTF8') like '%\"target_region\"%' and convert_from(event, 'UTF8') not like '%\"target_region\":\"' || region || '\"%'",
    )
    .await?;
    verdict.trials_of(0, u64::from(crossed == 0), || "no record tells of a request that went to another region".to_owned());
    verdict.figure("recorded_crossings", crossed);
    Ok(())
}

fn document(places: &[Place], is_wrong: bool) -> Value {
    let region = |(index, (name, labels)): (usize, &(&str, &[&str]))| {
        let mut labels: Vec<&str> = labels.to_vec();
        if is_wrong && index == 2 {
            labels.push("west");
        }
        json!({ "name": name, "residency": labels })
    };
    let regions: Vec<Value> = REGIONS.iter().enumerate().map(region).collect();
    let runs = |index: usize| {
        let target = places.get(index).map(|place| format!("http://127.0.0.1:{}", place.line.port()));
        if index == 0 { json!({ "targets": [target], "role": "writer" }) } else { json!({ "targets": [target] }) }
    };
    let everywhere: serde_json::Map<String, Value> = REGIONS.iter().enumerate().map(|(index, (name, _))| ((*name).to_owned(), runs(index))).collect();
    let upstream = |name: &str, more: Value| {
        let mut upstream = json!({
            "name": name, "regions": everywhere, "timeouts": { "connect": "500ms", "response": "5s", "idle": "5s" },
            "outliers": { "gateway_failures": 3, "rest": "1s", "rest_max": "1s" }
        });
        if let (Some(upstream), Some(more)) = (upstream.as_object_mut(), more.as_object()) {
            upstream.extend(more.clone());
        }
        upstream
    };
    let routes = ROUTES.iter().map(|route| {
        let mut doc = json!({ "name": route.name, "match": { "path": format!("/{}/**", route.name) }, "auth": if route.takes_keys { "api_key" } else { "none" }, "upstream": route.upstream, "audit": "buffered" });
        if let Some(doc) = doc.as_object_mut() {
            if !route.labels.is_empty() {
                doc.insert("residency".to_owned(), json!(route.labels));
            }
            if !route.takes_writes && let Some(matches) = doc.get_mut("match").and_then(Value::as_object_mut) {
                matches.insert("methods".to_owned(), json!(["GET"]));
            }
        }
        doc
    });
    json!({
        "version": 1, "regions": regions, "tenants": [{ "name": "demo", "hosts": ["127.0.0.1"] }],
        "upstreams": [upstream("everywhere", json!({})), upstream("western", json!({ "residency": ["west"] }))],
        "routes": routes.collect::<Vec<Value>>(),
    })
}

/// Makes the deployment equal to a document, as an operator does.
pub(crate) async fn apply(dev: &Dev, document: &Value) -> Result<()> {
    let ready = dev.ready();
    let file = ready.ca.with_file_name("claim.json");
    std::fs::write(&file, document.to_string())?;
    let done = tokio::process::Command::new(dev::binary()?)
        .args(["apply", "-f"])
        .arg(&file)
        .env("CAUSEWAY_CONTROL", &dev.writer()?.control)
        .env("CAUSEWAY_TOKEN", &ready.operator_token)
        .env("CAUSEWAY_CA", &ready.ca)
        .stdin(std::process::Stdio::null())
        .output()
        .await?;
    ensure!(done.status.success(), "apply: {}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    Ok(())
}
