//! Faults of the line to a service, and of the service's process: refused, hung, cut, half-open, late, killed.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use harness::client::Version;
use harness::fault::{Direction, Proxy};
use harness::seed::Random;
use harness::wait;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::script::{CUT, Case, FINE, PROBLEM, WHOLE};
use super::service::{self, Shared};
use super::{Got, ask, nonce};
use crate::claim::{Context, Verdict};
use crate::figures::share;
use crate::ground::{self, Door};

/// Clients over the faulty line, half of them for each protocol.
const CLIENTS: usize = 8;
/// How long a fault lasts: longer than a deadline of the route now and then.
const LASTS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(700));
/// How soon after its end a request is served again.
const HEALS_WITHIN: Duration = Duration::from_secs(5);

/// What happens to the line.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Cut,
    Refuse,
    Hang,
    HalfOpenUp,
    HalfOpenDown,
    Late,
    Partition,
    Killed,
}

const ALL: [Fault; 8] =
    [Fault::Cut, Fault::Refuse, Fault::Hang, Fault::HalfOpenUp, Fault::HalfOpenDown, Fault::Late, Fault::Partition, Fault::Killed];

/// A service behind a line that can be spoiled.
pub(super) struct Line {
    proxy: Proxy,
    service: SocketAddr,
    shared: Arc<Shared>,
    running: std::sync::Mutex<Option<JoinSet<()>>>,
}

impl Line {
    pub(super) async fn start() -> Result<Self> {
        let (listener, port) = ground::listener().await?;
        let shared = Arc::<Shared>::default();
        let running = service::start(listener, Arc::clone(&shared));
        let proxy = Proxy::to_port(port).await?;
        Ok(Self { proxy, service: SocketAddr::from((Ipv4Addr::LOCALHOST, port)), shared, running: std::sync::Mutex::new(Some(running)) })
    }

    /// Where the gateway connects.
    pub(super) fn port(&self) -> u16 {
        self.proxy.port()
    }

    /// Spoils the line `trials` times with each fault under load; answers must be whole, cut or clean problems, and come back after.
    pub(super) async fn check(&self, context: &mut Context, verdict: &mut Verdict, door: &Door) -> Result<()> {
        let over = CancellationToken::new();
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            let version = if client % 2 == 0 { Version::Http1 } else { Version::Http2 };
            let random = Random::new(context.random.next_u64());
            clients.spawn(call(door.client(version)?, format!("{}/line", door.url()), random, over.clone()));
        }
        let probe = door.client(Version::Http1)?;
        // Two kinds in each round: all of them after four rounds.
        let spoiled = context.trials.saturating_mul(2);
        for fault in ALL.into_iter().cycle().take(usize::try_from(spoiled)?) {
            let lasts = context.random.between(LASTS.0, LASTS.1);
            self.spoil(fault).await?;
            sleep_until(Instant::now() + lasts).await;
            self.mend(fault).await?;
            let mut random = Random::new(context.random.next_u64());
            let fine = FINE.first().context("no lawful case")?;
            let healed = wait::until("a served request", HEALS_WITHIN, async || {
                let got = ask(&probe, &format!("{}/line", door.url()), fine, &nonce(&mut random)).await;
                got.wrong.is_none() && got.what == WHOLE
            })
            .await;
            verdict.trial(healed.is_ok(), || format!("after {fault:?} for {} ms nothing is served any more", lasts.as_millis()));
        }
        over.cancel();
        let (mut asked, mut served) = (0, 0);
        while let Some(done) = clients.join_next().await {
            for (case, got) in done? {
                asked += 1;
                served += u64::from(got.what == WHOLE);
                let held = got.wrong.is_none() && got.what & (WHOLE | CUT | PROBLEM) != 0;
                verdict.trial(held, || format!("{} over a faulty line: {}", case.name, got.wrong.clone().unwrap_or_else(|| got.told.clone())));
            }
        }
        super::judge_service(verdict, &self.shared);
        verdict.figure("line_faults", spoiled);
        verdict.figure("line_requests", asked);
        verdict.figure("line_share", share(served, asked));
        Ok(())
    }

    async fn spoil(&self, fault: Fault) -> Result<()> {
        match fault {
            Fault::Cut => self.proxy.cut(),
            Fault::Refuse => {
                self.proxy.refuse();
                self.proxy.cut();
            }
            Fault::Hang => {
                self.proxy.hang();
                self.proxy.cut();
            }
            Fault::HalfOpenUp => self.proxy.hold(Direction::Up),
            Fault::HalfOpenDown => self.proxy.hold(Direction::Down),
            Fault::Late => self.proxy.delay_one_way(Direction::Down, Duration::from_millis(500), Duration::from_millis(300)),
            Fault::Partition => self.proxy.partition(),
            // The kernel ends what a killed process leaves; so does the drop of its sockets.
            Fault::Killed => {
                let mut running = self.running.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take().context("not running")?;
                running.shutdown().await;
            }
        }
        Ok(())
    }

    async fn mend(&self, fault: Fault) -> Result<()> {
        if matches!(fault, Fault::Killed) {
            let (listener, _) = wait::some("the port again", HEALS_WITHIN, async || TcpListener::bind(self.service).await.ok()).await?;
            let running = service::start(listener, Arc::clone(&self.shared));
            *self.running.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(running);
        }
        self.proxy.heal();
        Ok(())
    }
}

/// Lawful requests until the end; what went wrong, and everything that did not fail.
async fn call(http: reqwest::Client, url: String, mut random: Random, over: CancellationToken) -> Vec<(&'static Case, Got)> {
    let mut all = Vec::new();
    let mut pace = tokio::time::interval(Duration::from_millis(5));
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !over.is_cancelled() {
        pace.tick().await;
        let Some(case) = FINE.get(usize::try_from(random.below(FINE.len() as u64)).unwrap_or_default()) else { break };
        let got = ask(&http, &url, case, &nonce(&mut random)).await;
        all.push((case, got));
    }
    all
}
