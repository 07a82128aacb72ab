use http::Method;
use model::time::{BootNanos, UtcMicros};

use super::*;
use crate::fixture::{edge, key, labeled, principal};

const NOW: Now = Now { boot: BootNanos(0), wall: UtcMicros(1) };

/// Somebody who gets something from a region, over the first of these snapshots, and what becomes of it over each that follows.
fn over(route: &str, region: &str, snapshots: &[&Snapshot]) -> Vec<Option<Over>> {
    let edge = edge(snapshots[0].clone());
    let route = snapshots[0].structure.routes.iter().find(|known| *known.name == *route).unwrap();
    let caller = (!route.auth.is_none()).then(|| principal(&[], key(), Vec::new()));
    let source = Source { address: IpAddr::from([192, 0, 2, 1]), shown: Shown::NotAsked };
    let server = Server { region: region.into(), upstream: "shop".into() };
    let stay = Stay::new(route, caller, source, Method::GET, Some(server)).known_in(1);
    let look = |(generation, snapshot)| stay.over(&edge, (generation, snapshot), &mut Routes::default(), |_| true, NOW);
    (1..).zip(snapshots.iter().copied()).map(look).collect()
}

#[test]
fn what_comes_from_a_region_ends_once_its_caller_asks_for_another() {
    let (free, eu, us, gone) = (labeled(None, ""), labeled(Some(&["eu"]), ""), labeled(Some(&["us"]), ""), labeled(Some(&["mars"]), ""));

    assert_eq!(over("key", "us-east", &[&free, &eu]), [None, Some(Over::Misplaced)]);
    assert_eq!(over("key", "eu-west", &[&free, &eu]), [None, None], "where it may be it stays");
    assert_eq!(over("key", "eu-west", &[&eu, &us]), [None, Some(Over::Misplaced)]);
    assert_eq!(over("key", "eu-west", &[&eu, &gone]), [None, Some(Over::Misplaced)], "no region has that label");
    assert_eq!(over("key", "eu-west", &[&eu, &free]), [None, None]);
    assert_eq!(over("open", "us-east", &[&free, &eu]), [None, None], "nobody has asked who calls");
    assert_eq!(Over::Misplaced.denial().kind, ProblemKind::ResidencyMismatch);
    assert_eq!(Over::ALL.map(|over| Over::of(over as u8)), Over::ALL.map(Some));
}

#[test]
fn what_comes_from_a_region_ends_once_its_route_or_service_or_the_region_itself_is_another() {
    let (free, eu) = (labeled(None, ""), labeled(Some(&["eu"]), ""));
    let (by_route, by_service) = (labeled(None, "route"), labeled(None, "service"));
    let mut moved = labeled(Some(&["eu"]), "");
    moved.structure = labeled(None, "regions").structure;

    for route in ["key", "open"] {
        assert_eq!(over(route, "us-east", &[&free, &by_route]), [None, Some(Over::Misplaced)], "{route}");
        assert_eq!(over(route, "us-east", &[&free, &by_service]), [None, Some(Over::Misplaced)], "{route}");
        assert_eq!(over(route, "eu-west", &[&free, &by_route, &by_service]), [None; 3], "{route}");
    }
    assert_eq!(over("key", "eu-west", &[&eu, &moved]), [None, Some(Over::Misplaced)], "the label is another region's now");
}
