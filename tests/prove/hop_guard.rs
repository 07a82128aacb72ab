//! `hop-guard`: a request that gateways send round in a circle ends after a few rounds, and one that comes by two of them on its way is served.
//!
//! Each pass through a node sends a copy to a service that counts, so that the count does not rest on what nodes say.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use futures_util::future::join_all;
use harness::client::{self, Version};
use harness::dev::Dev;
use harness::seed::Random;
use harness::upstream::{Behavior, Recorder};
use harness::wait;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use reqwest::Client;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::claim::{Claim, Context, Run, Verdict, no_obstacle};
use crate::figures::share;
use crate::residency::apply;

/// Fewer would not hold each kind.
const TRIALS_MIN: u64 = 16;
/// Requests at the same time.
const PARALLEL: usize = 8;
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
const SERVED_WITHIN: Duration = Duration::from_secs(20);
/// What a circle may come to: three rounds over two regions, and one pass that is refused.
const PASSES_MAX: usize = 7;
/// How long a service's own circle may get before it ends it.
const ROUNDS_MAX: u64 = 30;
/// The mutant: what closes the circle is a service that makes a new request of each, so that no gateway can know.
const FORGETFUL: &str = "forgetful-service";

pub(crate) const CLAIM: Claim = Claim {
    slug: "hop-guard",
    promise: "a request that gateways send round in a circle ends after three rounds, and one that comes by two gateways is served",
    trials: 300,
    mutants: &[FORGETFUL],
    obstacle: no_obstacle,
    run: |context, verdict| -> Run<'_> { Box::pin(run(context, verdict)) },
};

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The first region's gateway sends it to the second one's, and so on for ever.
    Ring,
    /// The first one sends it to the second one's, and that to a service.
    Chain,
    /// A client says that it has been everywhere already.
    Forged,
    /// It has been by many proxies of others, some of which are called alike.
    Foreign,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Ring, Self::Chain, Self::Forged, Self::Foreign];
}

struct Asked {
    kind: Kind,
    id: String,
    status: u16,
    code: String,
}

async fn run(context: &mut Context, verdict: &mut Verdict) -> Result<()> {
    let dev = Dev::start().await?;
    let (service, passes) = (Recorder::start(Behavior::ok("served")).await?, Recorder::start(Behavior::ok("counted")).await?);
    let http = [Version::Http1, Version::Http2].map(|version| client::http(&dev.ready().ca, version));
    let [http1, http2] = http;
    let (http1, http2) = (http1?, http2?);
    let [first, second] = [dev.writer()?.data.clone(), dev.reader()?.data.clone()];
    let forgetful = Forgetful::start(http1.clone(), second.clone()).await?;
    let closes = if context.is_mutant(FORGETFUL) { format!("http://127.0.0.1:{}", forgetful.port) } else { second.clone() };
    let ca = std::fs::read_to_string(&dev.ready().ca)?;
    apply(&dev, &document(&[&first, &second, &closes], &ca, &service, &passes)).await?;
    for door in [&first, &second] {
        let url = format!("{door}/chain/ready");
        wait::until("the routes", SERVED_WITHIN, async || http1.get(&url).send().await.is_ok_and(|answer| answer.status() == 200)).await?;
    }
    let name = names(&service)?;

    let mut asked = Vec::new();
    let mut left = context.trials.max(TRIALS_MIN);
    while left > 0 {
        let batch = left.min(PARALLEL as u64);
        left -= batch;
        let drawn: Vec<(Kind, String)> = (0..batch).filter_map(|index| draw(&mut context.random, index)).collect();
        let answers = drawn.into_iter().enumerate().map(async |(index, (kind, id))| {
            // Each kind over each version.
            let http = if (index / Kind::ALL.len()).is_multiple_of(2) { &http1 } else { &http2 };
            ask(http, &first, kind, id, &name).await
        });
        asked.extend(join_all(answers).await);
    }
    judge(context, verdict, &asked, &service, &passes);
    drop((http1, http2, forgetful));
    dev.stop().await
}

/// One of each kind in turn.
fn draw(random: &mut Random, index: u64) -> Option<(Kind, String)> {
    let kind = *Kind::ALL.get(usize::try_from(index % Kind::ALL.len() as u64).ok()?)?;
    Some((kind, format!("{:016x}", random.next_u64())))
}

async fn ask(http: &Client, door: &str, kind: Kind, id: String, name: &str) -> Asked {
    let path = if kind == Kind::Ring { "ring" } else { "chain" };
    let request = http.get(format!("{door}/{path}/{id}"));
    let request = match kind {
        Kind::Ring | Kind::Chain => request,
        Kind::Forged => request.header("via", format!("1.1 {name}, 1.1 {name}")).header("via", format!("2 {name}")),
        Kind::Foreign => {
            (0..20).fold(request, |request, n| request.header("via", format!("1.1 causeway-eu-west-{n:08x} (somebody, else), 1.0 causeway")))
        }
    };
    let answer = request.timeout(ANSWER_WITHIN).send().await.ok();
    let status = answer.as_ref().map_or(0, |answer| answer.status().as_u16());
    let text = match answer {
        Some(answer) => answer.text().await.unwrap_or_default(),
        None => String::new(),
    };
    let code = serde_json::from_str::<Value>(&text).ok().and_then(|body| Some(body.get("code")?.as_str()?.to_owned())).unwrap_or_default();
    Asked { kind, id, status, code }
}

fn judge(context: &Context, verdict: &mut Verdict, asked: &[Asked], service: &Recorder, passes: &Recorder) {
    let count = |recorder: &Recorder| {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for request in recorder.seen() {
            *counts.entry(request.target.rsplit('/').next().unwrap_or_default().to_owned()).or_default() += 1;
        }
        counts
    };
    let (served, rounds_of) = (count(service), count(passes));
    let (mut most, mut rings, mut well) = (0, 0, 0_u64);
    for request in asked {
        let times = served.get(&request.id).copied().unwrap_or(0);
        let rounds = rounds_of.get(&request.id).copied().unwrap_or(0);
        let held = match request.kind {
            Kind::Ring => {
                rings += 1;
                most = most.max(rounds);
                rounds > 0 && rounds <= PASSES_MAX && (request.status, request.code.as_str()) == (508, "loop-detected")
            }
            Kind::Chain | Kind::Foreign => (request.status, times) == (200, 1),
            Kind::Forged => (request.status, times) == (508, 0),
        };
        well += u64::from(held && matches!(request.kind, Kind::Chain | Kind::Foreign));
        verdict.trial(held, || {
            format!("{:?}: answered {} {}, {rounds} passes, {times} times at the service", request.kind, request.status, request.code)
        });
    }
    let lawful = asked.iter().filter(|request| matches!(request.kind, Kind::Chain | Kind::Foreign)).count() as u64;
    if context.mutant.is_none() {
        verdict.trials_of(0, u64::from(rings == 0 || most < 3), || format!("{rings} circles with {most} passes at most: that was none"));
    }
    verdict.figure("circles", rings);
    verdict.figure("passes_max", most);
    verdict.figure("served", share(well, lawful));
}

/// What the first region's gateways call themselves, as the service has seen it.
fn names(service: &Recorder) -> Result<String> {
    let seen = service.seen();
    let via = seen.iter().flat_map(|request| &request.headers).filter(|(name, _)| name.as_str() == "via");
    let mut names = via.filter_map(|(_, value)| value.to_str().ok()?.split(' ').nth(1).map(str::to_owned));
    names.find(|name| name.starts_with("causeway-eu-west-")).context("no request at the service says that it came by the first region")
}

fn document(doors: &[&str; 3], ca: &str, service: &Recorder, passes: &Recorder) -> Value {
    let [first, second, closes] = doors;
    let tls = json!({ "ca": ca });
    let plain = |address: std::net::SocketAddr| format!("http://{address}");
    let route = |name: &str| {
        json!({
            "name": name, "match": { "path": format!("/{name}/**") }, "auth": "none", "upstream": name, "audit": "buffered",
            "mirror": { "upstream": "passes", "percent": 100.0 }, "timeout": "15s",
        })
    };
    let mut ring = json!({ "name": "ring", "regions": { "eu-west": { "targets": [closes], "role": "writer" }, "us-east": { "targets": [first] } } });
    if let Some(ring) = ring.as_object_mut() {
        ring.insert("tls".to_owned(), tls.clone());
    }
    json!({
        "version": 1, "regions": [{ "name": "eu-west" }, { "name": "us-east" }], "tenants": [{ "name": "demo", "hosts": ["127.0.0.1"] }],
        "upstreams": [
            ring,
            { "name": "chain", "tls": tls,
              "regions": { "eu-west": { "targets": [second], "role": "writer" }, "us-east": { "targets": [plain(service.address())] } } },
            { "name": "passes", "regions": { "eu-west": { "targets": [plain(passes.address())] } } },
        ],
        "routes": [route("ring"), route("chain")],
    })
}

/// A service that makes a new request of each that it gets, and so closes a circle that no gateway can see.
struct Forgetful {
    port: u16,
    _tasks: JoinSet<()>,
}

impl Forgetful {
    async fn start(http: Client, door: String) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (http, door) = (http.clone(), door.clone());
                connections.spawn(async move {
                    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                        let (http, door) = (http.clone(), door.clone());
                        async move { Ok::<_, Infallible>(again(&http, &door, &request).await) }
                    });
                    drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
                });
            }
        });
        Ok(Self { port, _tasks: tasks })
    }
}

async fn again(http: &Client, door: &str, request: &Request<hyper::body::Incoming>) -> Response<Full<Bytes>> {
    let round = request.headers().get("x-round").and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or(0_u64) + 1;
    if round < ROUNDS_MAX {
        let next = http.get(format!("{door}{}", request.uri().path())).header("x-round", round).timeout(ANSWER_WITHIN);
        drop(next.send().await);
    }
    Response::new(Full::new(Bytes::from_static(b"round and round")))
}
