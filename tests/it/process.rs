//! Processes are told apart from later ones with the same number, and families are found whole.

use std::process::{Command, Stdio};
use std::time::Duration;

use harness::process::Process;
use harness::seed::Random;
use harness::wait;

const LIMIT: Duration = Duration::from_secs(10);

#[tokio::test]
async fn family_is_found_and_its_end_is_noticed() {
    let mut shell = Command::new("sh").args(["-c", "sleep 1000 & sleep 1000; true"]).stdin(Stdio::null()).spawn().unwrap();
    let process = Process::of(shell.id()).unwrap();

    let (family, _) = wait::some("two children", LIMIT, async || {
        let found = process.descendants();
        let ready = found.iter().all(|child| child.command().starts_with("sleep"));
        (found.len() == 2 && ready).then_some(found)
    })
    .await
    .unwrap();
    for child in &family {
        child.kill().await.unwrap();
    }
    shell.wait().unwrap();

    assert!(!process.is_alive());
    assert!(Process::of(shell.id()).is_err());
}

#[tokio::test]
async fn zombie_counts_as_ended() {
    let mut child = Command::new("true").spawn().unwrap();
    let process = Process::of(child.id()).unwrap();

    process.wait_gone(LIMIT).await.unwrap();

    child.wait().unwrap();
}

#[tokio::test]
async fn wait_that_is_in_vain_names_what_it_waited_for() {
    let error = wait::until("the moon", Duration::from_millis(50), async || false).await.unwrap_err();

    assert_eq!(error.to_string(), "waited 50 ms in vain for the moon");
}

#[test]
fn seed_decides_the_whole_sequence() {
    let draw = |seed| {
        let mut random = Random::new(seed);
        [random.next_u64(), random.below(10), random.below(0)]
    };

    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
    // The first output for seed 0, from the reference implementation.
    assert_eq!(Random::new(0).next_u64(), 0xE220_A839_7B1D_CDAF);
}
