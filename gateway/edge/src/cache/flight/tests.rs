use model::problem::ProblemKind;
use tokio::task::JoinSet;

use super::*;

fn key(target: &str) -> Key {
    Key { route: "r".into(), scope: 0, consumer: None, host: "h".into(), target: target.into() }
}

fn lead(flights: &Arc<Flights>, target: &str) -> Lead {
    match flights.board(&key(target)) {
        Boarding::Lead(lead) => lead,
        Boarding::Wait(_) => panic!("somebody leads"),
    }
}

fn wait(flights: &Arc<Flights>, target: &str) -> Waiter {
    match flights.board(&key(target)) {
        Boarding::Wait(waiter) => waiter,
        Boarding::Lead(_) => panic!("nobody leads"),
    }
}

#[tokio::test]
async fn everybody_who_waits_gets_what_the_leader_brought() {
    let flights = Arc::<Flights>::default();
    let leader = lead(&flights, "/a");
    let mut waiters: JoinSet<_> = (0..100).map(|_| wait(&flights, "/a").landing()).collect();
    let _other = lead(&flights, "/b");

    leader.land(Landing::Failed(Arc::new(Denial::new(ProblemKind::UpstreamTimeout, "late"))));

    while let Some(landing) = waiters.join_next().await {
        assert!(matches!(landing.unwrap(), Some(Landing::Failed(denial)) if denial.kind == ProblemKind::UpstreamTimeout));
    }
    assert_eq!(flights.len(), 1, "the next request leads again");
}

#[tokio::test]
async fn nobody_hangs_on_a_leader_that_is_gone() {
    let flights = Arc::<Flights>::default();
    let leader = lead(&flights, "/a");
    let mut early: JoinSet<_> = [wait(&flights, "/a").landing()].into_iter().collect();
    let late = wait(&flights, "/a");

    drop(leader);

    assert!(early.join_next().await.unwrap().unwrap().is_none());
    assert!(late.landing().await.is_none());
    assert_eq!(flights.len(), 0);
    drop(lead(&flights, "/a"));
}
