//! `causeway dev` from its start to its end: what it promises to scripts, and that it leaves nothing behind however it ends.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use harness::dev::{self, Dev, Ready};
use harness::process::Process;
use harness::wait;
use rustix::process::Signal;
use serde_json::Value;

use crate::calls::{Calls, shared};

/// The product's promise on an idle machine; here other tests run beside it.
const READY_WITHIN: Duration = Duration::from_mins(1);
const WITHIN: Duration = Duration::from_secs(20);

/// A run of `causeway dev` past the harness, so that each step can be seen.
struct Run {
    child: Child,
    process: Process,
    log: std::path::PathBuf,
}

impl Run {
    fn start(dir: &Path, name: &str, more: &[&str]) -> Self {
        let log = dir.join(format!("{name}.log"));
        let output = std::fs::File::create(&log).unwrap();
        let mut command = Command::new(dev::binary().unwrap());
        command.arg("dev").arg("--data").arg(dir.join("data")).args(more).stdin(Stdio::null());
        let child = command.stdout(output.try_clone().unwrap()).stderr(output).spawn().unwrap();
        Self { process: Process::of(child.id()).unwrap(), child, log }
    }

    fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    async fn says(&self, words: &str, within: Duration) {
        let said = wait::until(words, within, async || self.output().contains(words)).await;
        assert!(said.is_ok(), "{words:?} is missing in:\n{}", self.output());
    }

    async fn ended(&mut self) -> Option<i32> {
        wait::some("the end of causeway dev", Duration::from_secs(40), async || self.child.try_wait().unwrap()).await.unwrap().0.code()
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let family = self.process.descendants();
        if matches!(self.child.try_wait(), Ok(None)) {
            drop(self.child.kill());
            drop(self.child.wait());
        }
        for process in family {
            process.signal(Signal::KILL);
        }
    }
}

/// Everything that runs with this folder in its arguments, wherever it stands in the tree of processes.
fn users_of(dir: &Path) -> Vec<String> {
    let dir = dir.to_str().unwrap();
    let pids = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let found = pids.filter_map(|pid| Process::of(pid).ok()).filter(|process| process.is_alive());
    found.map(|process| format!("{} {}", process.pid(), process.command())).filter(|text| text.contains(dir)).collect()
}

async fn nothing_uses(dir: &Path) {
    let none = wait::until("the end of every process of the folder", WITHIN, async || users_of(dir).is_empty()).await;
    assert!(none.is_ok(), "left behind: {:#?}", users_of(dir));
}

fn members(value: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

/// The contract for scripts, to the letter: a member more or less is a change of the contract.
#[tokio::test]
async fn ready_file_has_exactly_the_members_of_the_contract() {
    let dev = shared().await;
    let file = dev.ready().ca.ancestors().nth(3).unwrap().join("ready.json");
    let ready: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();

    assert_eq!(members(&ready), ["api_key", "ca", "dev_pid", "operator_token", "regions"]);
    let regions = ready["regions"].as_array().unwrap();
    assert_eq!(regions.iter().map(|region| region["role"].as_str().unwrap()).collect::<Vec<_>>(), ["writer", "reader"]);
    assert_eq!(regions.iter().map(|region| region["name"].as_str().unwrap()).collect::<Vec<_>>(), ["eu-west", "us-east"]);
    let mut pids = vec![ready["dev_pid"].as_u64().unwrap()];
    for region in regions {
        assert_eq!(
            members(region),
            ["control", "data", "name", "node_config", "node_pid", "postgres_data_dir", "postgres_pid", "postgres_port", "role", "spool_dir"]
        );
        for url in ["data", "control"] {
            let port = region[url].as_str().unwrap().strip_prefix("https://127.0.0.1:").unwrap().parse::<u16>();
            assert!(port.is_ok_and(|port| port > 0), "{region}");
        }
        for path in ["node_config", "spool_dir", "postgres_data_dir"] {
            let path = Path::new(region[path].as_str().unwrap());
            assert!(path.is_absolute() && path.exists(), "{}", path.display());
        }
        assert!(region["postgres_port"].as_u64().is_some_and(|port| (1..65_536).contains(&port)), "{region}");
        pids.extend(["node_pid", "postgres_pid"].map(|pid| region[pid].as_u64().unwrap()));
    }
    for pid in &pids {
        assert!(Process::of(u32::try_from(*pid).unwrap()).is_ok_and(Process::is_alive), "{pid} of {pids:?} does not run");
    }
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), 5, "five different processes");
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions()) & 0o77, 0, "it holds a key and a token");
    assert!(ready["api_key"].as_str().unwrap().starts_with("cw_live_"), "{ready}");
}

/// State lives on: keys, rows, and the tables themselves, so that a second start has less to do.
#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "a test's own clock")]
async fn second_start_in_a_folder_keeps_keys_and_rows_and_is_quicker() {
    let dir = tempfile::tempdir().unwrap();
    let began = std::time::Instant::now();
    let dev = Dev::start_in(dir.path()).await.unwrap();
    let first = began.elapsed();
    let calls = Calls::of(dev.ready()).unwrap();
    let (key, token) = (dev.ready().api_key.clone(), dev.ready().operator_token.clone());
    let issued = calls.issue("kept").await.unwrap();
    let body = serde_json::json!({ "name": "kept", "quantity": 3 });
    let client = dev.client(harness::client::Version::Http1).unwrap();
    let made = client.post(format!("{}/demo/v1/items", dev.writer().unwrap().data)).header("x-api-key", &key).json(&body).send().await.unwrap();
    assert_eq!(made.status(), 201);
    let id = made.json::<Value>().await.unwrap()["id"].clone();
    dev.stop().await.unwrap();
    nothing_uses(dir.path()).await;

    let began = std::time::Instant::now();
    let dev = Dev::start_in(dir.path()).await.unwrap();
    let second = began.elapsed();
    let calls = Calls::of(dev.ready()).unwrap();

    assert_eq!((&dev.ready().api_key, &dev.ready().operator_token), (&key, &token));
    for region in &dev.ready().regions {
        assert_eq!(calls.get(region, "/demo/v1/echo", &issued.secret).await.unwrap().status, 200, "{}", region.name);
        let item = calls.get(region, &format!("/demo/v1/eventual/items/{id}"), &key).await.unwrap();
        assert_eq!((item.status, &item.json()["name"]), (200, &Value::from("kept")), "{item:?}");
    }
    // The promise is ten seconds for a first start on an idle machine; a second one keeps it beside other tests.
    assert!(second < Duration::from_secs(10), "the second start took {} ms", second.as_millis());
    assert!(second < first, "the second start took {} ms, the first {} ms", second.as_millis(), first.as_millis());
    dev.stop().await.unwrap();
    nothing_uses(dir.path()).await;
}

#[tokio::test]
async fn port_that_is_taken_is_named_with_the_remedy_and_nothing_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let first = port.saturating_sub(3).to_string();

    let mut run = Run::start(dir.path(), "dev", &["--port", &first]);
    let code = run.ended().await;

    assert_eq!(code, Some(1));
    let output = run.output();
    // Of the eight ports another one may be taken too, by another test.
    assert!(output.contains("is taken") && output.contains("--port 0"), "{output}");
    nothing_uses(dir.path()).await;
}

/// Whenever it comes: while PostgreSQL is made, while it starts, while the nodes come up.
#[tokio::test]
async fn interrupt_during_the_start_leaves_no_process_and_no_ready_file() {
    let dir = tempfile::tempdir().unwrap();
    let ready = dir.path().join("ready.json");
    std::fs::write(&ready, "{}").unwrap();
    let arguments = ["--port", "0", "--ready-file", ready.to_str().unwrap()];
    for (name, moment) in [("one", "starting PostgreSQL"), ("two", "preparing databases"), ("three", "starting two nodes")] {
        let mut run = Run::start(dir.path(), name, &arguments);
        run.says(moment, READY_WITHIN).await;
        run.process.signal(Signal::INT);

        assert_eq!(run.ended().await, Some(0), "{moment}: {}", run.output());
        nothing_uses(&dir.path().join("data")).await;
        assert!(!ready.exists(), "{moment}: a script would take an old file for this run's");
    }
}

/// A crash is a person's to look at: restarting would hide it. And after the worst end of all, the same folder works again.
#[tokio::test]
async fn killed_node_is_reported_and_a_killed_dev_leaves_nothing_that_holds_its_folder() {
    let dir = tempfile::tempdir().unwrap();
    let ready = dir.path().join("ready.json");
    let arguments = ["--port", "0", "--ready-file", ready.to_str().unwrap()];
    let mut run = Run::start(dir.path(), "first", &arguments);
    wait::until("the ready file", READY_WITHIN, async || ready.exists()).await.unwrap();
    let told: Ready = serde_json::from_slice(&std::fs::read(&ready).unwrap()).unwrap();
    let node = Process::of(told.regions[1].node_pid).unwrap();

    node.kill().await.unwrap();
    run.says("node us-east is gone", WITHIN).await;
    let output = run.output();
    let others = run.process.descendants().iter().filter(|process| process.command().contains(" serve ")).count();

    assert!(output.contains("it is not started again") && output.contains("us-east.log"), "{output}");
    assert_eq!(others, 1, "the other node runs on alone");
    assert!(run.process.is_alive());

    run.process.signal(Signal::KILL);
    run.ended().await;
    nothing_uses(&dir.path().join("data")).await;
    let mut again = Run::start(dir.path(), "second", &arguments);
    again.says("Causeway is up", READY_WITHIN).await;
    let told: Ready = serde_json::from_slice(&std::fs::read(&ready).unwrap()).unwrap();
    let calls = Calls::of(&told).unwrap();
    for region in &told.regions {
        assert_eq!(calls.get(region, "/demo/v1/echo", &told.api_key).await.unwrap().status, 200);
    }

    // A second one on the same folder while this one runs: refused, and this one is left alone.
    let mut twin = Run::start(dir.path(), "twin", &["--port", "0"]);
    assert_eq!(twin.ended().await, Some(1), "{}", twin.output());
    assert!(twin.output().contains("in use"), "{}", twin.output());
    assert_eq!(calls.get(&told.regions[0], "/demo/v1/echo", &told.api_key).await.unwrap().status, 200);

    again.process.signal(Signal::INT);
    assert_eq!(again.ended().await, Some(0), "{}", again.output());
    nothing_uses(&dir.path().join("data")).await;
}

/// Logs are read by people and by programs: colors belong on a terminal.
#[tokio::test]
async fn output_that_goes_to_a_file_has_no_colors() {
    let dev = shared().await;
    let logs = dev.ready().ca.parent().unwrap().with_file_name("logs");
    for entry in std::fs::read_dir(logs).unwrap() {
        let text = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!text.contains(&0x1b));
    }
    assert!(!dev.output().contains('\u{1b}'));
}
