use std::time::Duration;

use model::structure::resilience::{HashOn, Outliers, RetryBudget, SuccessRule};

use super::*;
use crate::{
    balance::{ring, tally::Tally},
    health::{HealthTable, Outcome},
    pool::{Pools, Slot},
};

const SECOND: u64 = 1_000_000_000;

fn rule(balance: Balance) -> Resilience {
    Resilience {
        balance,
        in_flight: None,
        slow_start_nanos: 0,
        check: None,
        outliers: Outliers {
            gateway_failures: 1,
            server_errors: 0,
            success: SuccessRule { percent: 0, requests: 1, window_nanos: 1 },
            rest_nanos: SECOND,
            rest_nanos_max: SECOND,
        },
        panic_percent: 30,
        breaker: None,
        budget: RetryBudget { percent: 20, per_second: 3 },
        resolve_every: Duration::from_secs(10),
    }
}

/// A cluster of `n` endpoints that play their part on paper.
struct Paper {
    upstream: Upstream,
    cluster: Cluster,
    health: HealthTable,
    dice: Dice,
    now: BootNanos,
}

impl Paper {
    fn new(n: usize, balance: Balance) -> Self {
        let (health, pools, now) = (HealthTable::default(), Pools::default(), BootNanos(100 * SECOND));
        let peers = (0..n).map(|n| {
            let address: Box<str> = format!("10.0.0.{n}:80").into();
            let kept = KeptPeer { endpoint: health.of("shop", &address, now), load: Load::default(), window: Window::default() };
            let target = Target { address, authority: "shop".into(), base_path: "".into(), name: None, reach: Arc::default(), is_gateway: false };
            Peer { pool: pools.of(&target), target: Arc::new(target), kept: Arc::new(kept) }
        });
        let cluster = Cluster::new("eu".into(), peers.collect(), None, &balance);
        let upstream = Upstream {
            name: "shop".into(),
            index: 0,
            domain: None,
            tracked: None,
            beating: None,
            residency: model::residency::Residency::default(),
            writer: None,
            regions: Vec::new(),
            connect_timeout: Duration::from_secs(1),
            response_timeout: Duration::from_secs(1),
            idle_timeout: Duration::from_secs(1),
            resilience: rule(balance),
            principal: None,
        };
        Self { upstream, cluster, health, dice: Dice::new(7), now }
    }

    fn pick(&self, hash: Option<u64>, tried: &Tried) -> Option<usize> {
        let all = self.cluster.is_in_panic(&self.upstream, self.health.changes(), self.now);
        let facts = Facts { dice: &self.dice, now: self.now, all, is_retry: !tried.is_empty() };
        self.cluster.pick(&self.upstream.resilience, hash, tried, facts).map(|peer| self.cluster.position(peer))
    }

    /// How often each endpoint is chosen in `times` choices that nothing follows from.
    fn counts(&self, times: usize) -> Vec<usize> {
        let mut counts = vec![0; self.cluster.peers.len()];
        for _ in 0..times {
            counts[self.pick(None, &Tried::default()).unwrap()] += 1;
        }
        counts
    }

    fn fail(&self, index: usize) {
        let endpoint = &self.cluster.peers[index].kept.endpoint;
        endpoint.failed(Outcome::GatewayFailure, false, &self.upstream.resilience.outliers, &Tally::default(), self.now);
    }

    fn enter(&self, index: usize) -> Slot {
        self.cluster.peers[index].pool.enter(usize::MAX).unwrap()
    }
}

#[test]
fn round_robin_takes_turns_among_the_usable() {
    let paper = Paper::new(4, Balance::RoundRobin);
    assert_eq!(paper.counts(400), [100; 4]);

    paper.fail(2);
    let counts = paper.counts(300);
    assert_eq!((counts[2], counts.iter().sum::<usize>()), (0, 300));
}

#[test]
fn least_requests_finds_the_idle_one() {
    let paper = Paper::new(4, Balance::LeastRequests);
    let _busy: Vec<Slot> = [0, 1, 3, 3].into_iter().map(|index| paper.enter(index)).collect();

    assert_eq!(paper.counts(50), [0, 0, 50, 0]);
}

#[test]
fn p2c_sends_little_to_a_slow_endpoint_and_nothing_to_one_that_rests() {
    let paper = Paper::new(4, Balance::P2c);
    for (index, millis) in [(0, 1), (1, 1), (2, 100), (3, 1)] {
        paper.cluster.peers[index].kept.load.observe(millis * 1_000_000, paper.now);
    }

    let counts = paper.counts(4_000);
    assert!(counts[2] == 0 && [0, 1, 3].into_iter().all(|fast| counts[fast] > 1_000), "{counts:?}");
    paper.fail(0);
    assert_eq!(paper.counts(1_000)[0], 0);
}

#[test]
fn p2c_spreads_evenly_over_equals() {
    let paper = Paper::new(3, Balance::P2c);
    let mut slots = Vec::new();
    for _ in 0..300 {
        let index = paper.pick(None, &Tried::default()).unwrap();
        slots.push(paper.enter(index));
    }

    let in_flight: Vec<usize> = paper.cluster.peers.iter().map(|peer| peer.pool.in_flight()).collect();
    assert!(in_flight.iter().all(|count| (90..=110).contains(count)), "{in_flight:?}");
}

#[test]
fn hash_stays_with_its_endpoint_and_comes_back_to_it() {
    let paper = Paper::new(5, Balance::Hash(HashOn::Path));
    let value = Some(ring::hash(b"/orders/17"));
    let home = paper.pick(value, &Tried::default()).unwrap();
    assert!((0..100).all(|_| paper.pick(value, &Tried::default()) == Some(home)));

    paper.fail(home);
    let other = paper.pick(value, &Tried::default()).unwrap();
    assert!(other != home && (0..100).all(|_| paper.pick(value, &Tried::default()) == Some(other)), "its stand-in is always the same");
    let later = Paper { now: BootNanos(paper.now.0 + SECOND), ..paper };
    assert_eq!(later.pick(value, &Tried::default()), Some(home));
}

#[test]
fn lone_endpoint_goes_on_being_tried_whatever_it_did() {
    let paper = Paper::new(1, Balance::P2c);
    for _ in 0..10 {
        paper.fail(0);
    }

    assert_eq!(paper.pick(None, &Tried::default()), Some(0));
}

#[test]
fn panic_begins_below_the_threshold_and_ends_when_rests_are_over() {
    let paper = Paper::new(10, Balance::RoundRobin);
    (0..7).for_each(|index| paper.fail(index));
    let counts = paper.counts(300);
    assert_eq!(counts[..7].iter().sum::<usize>(), 0, "three of ten are 30 %: they carry the load");

    paper.fail(7);
    assert_eq!(paper.counts(1_000), [100; 10], "two of ten would drown: all are tried");
    let later = Paper { now: BootNanos(paper.now.0 + SECOND), ..paper };
    assert!(!later.cluster.is_in_panic(&later.upstream, later.health.changes(), later.now));
}

#[test]
fn without_panic_nothing_is_tried_when_all_rest() {
    let mut paper = Paper::new(2, Balance::P2c);
    paper.upstream.resilience.panic_percent = 0;
    (0..2).for_each(|index| paper.fail(index));

    assert_eq!(paper.pick(None, &Tried::default()), None);
}

#[test]
fn retry_goes_to_another_endpoint_and_rather_to_one_that_rests_than_nowhere() {
    for balance in [Balance::P2c, Balance::RoundRobin, Balance::LeastRequests, Balance::Hash(HashOn::Path)] {
        let paper = Paper::new(3, balance.clone());
        paper.fail(1);
        let mut tried = Tried::default();
        for _ in 0..3 {
            let index = paper.pick(Some(9), &tried).unwrap();
            assert!(!tried.has(index), "{balance:?}");
            tried.add(index);
        }
        assert!(tried.has(1) && paper.pick(Some(9), &tried).is_none(), "{balance:?}");
    }
}

#[test]
fn endpoint_that_starts_slowly_gets_a_share_that_grows() {
    for balance in [Balance::P2c, Balance::RoundRobin] {
        let mut paper = Paper::new(4, balance.clone());
        paper.upstream.resilience.slow_start_nanos = 10 * SECOND;
        paper.fail(0);
        paper.now = BootNanos(paper.now.0 + 20 * SECOND);
        let rule = paper.upstream.resilience.outliers;
        paper.cluster.peers[0].kept.endpoint.failed(Outcome::GatewayFailure, false, &rule, &Tally::default(), paper.now);
        let share = |after: u64| {
            let now = BootNanos(paper.now.0 + SECOND + after);
            let facts = Facts { dice: &paper.dice, now, all: false, is_retry: false };
            // All answer alike: only the slow start tells them apart.
            paper.cluster.peers.iter().for_each(|peer| peer.kept.load.observe(1_000_000, now));
            let hits = (0..4_000).filter(|_| {
                let peer = paper.cluster.pick(&paper.upstream.resilience, None, &Tried::default(), facts).unwrap();
                paper.cluster.position(peer) == 0
            });
            hits.count()
        };

        let (first, last) = (share(SECOND), share(11 * SECOND));
        assert!(first < 300 && (700..1_300).contains(&last), "{balance:?}: {first} of 4000, then {last}");
    }
}

#[test]
fn count_of_usable_endpoints_follows_checks_and_time() {
    let paper = Paper::new(3, Balance::P2c);
    let usable = |now: u64| paper.cluster.usable(paper.health.changes(), BootNanos(now));
    assert_eq!(usable(paper.now.0), 3);

    paper.fail(0);
    assert_eq!(usable(paper.now.0), 2);
    assert_eq!(usable(paper.now.0 + SECOND), 3, "the rest is over, though nothing else has changed");
}
