//! How a node starts and ends: each mistake is named and ends it at once; what can pass by itself (a database that is away)
//! does not.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use edge::listener::{Reserved, reserve};
use harness::client::{self, Version};
use harness::dev::{self, Dev};
use harness::node::{Node, Under};
use harness::process::Process;
use harness::wait;
use rustix::process::Signal;

use crate::calls::Calls;
use crate::program::causeway;

const WITHIN: Duration = Duration::from_secs(20);
const PEPPER: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// A folder with everything that a node needs, except a database that answers.
struct Folder {
    dir: tempfile::TempDir,
    data: SocketAddr,
    control: SocketAddr,
    _ports: [Reserved; 3],
}

impl Folder {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let hosts = ["127.0.0.1".to_owned(), "localhost".to_owned()];
        app::certs::development(dir.path(), &hosts, time::OffsetDateTime::now_utc()).unwrap();
        for (name, text) in [("password", "secret-of-the-database"), ("pepper", PEPPER), ("snapshot-key", PEPPER)] {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let ports = [0, 1, 2].map(|_| reserve("127.0.0.1:0".parse().unwrap()).unwrap());
        let [data, control, database] = [&ports[0], &ports[1], &ports[2]].map(Reserved::address);
        let text = format!(
            "version: 1\nnode: lonely\nregion: eu-west\n\
             data: {{ listen: \"{data}\", certificate: server.pem, key: \"file:server.key\" }}\n\
             control: {{ listen: \"{control}\", certificate: server.pem, key: \"file:server.key\" }}\n\
             database:\n  name: causeway\n  user: causeway\n  password: \"file:password\"\n  servers:\n\
             \x20 - {{ address: \"{database}\", region: eu-west }}\n\
             spool: {{ dir: spool, max: 64MiB, segment: 1MiB }}\nstate: state\n\
             secrets:\n  peppers: [ {{ version: 1, key: \"file:pepper\" }} ]\n  snapshot_key: \"file:snapshot-key\"\nlog: text\n"
        );
        std::fs::write(dir.path().join("node.yaml"), text).unwrap();
        Self { dir, data, control, _ports: ports }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    fn edit(&self, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.path("node.yaml")).unwrap();
        assert!(text.contains(from), "{from:?} is not in the node file");
        std::fs::write(self.path("node.yaml"), text.replacen(from, to, 1)).unwrap();
    }

    fn start(&self) -> Running {
        let log = std::fs::File::create(self.path("log")).unwrap();
        let mut command = Command::new(dev::binary().unwrap());
        command.args(["serve", "--config", &self.path("node.yaml")]).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn().unwrap();
        Running { process: Process::of(child.id()).unwrap(), child }
    }

    async fn ask(&self, path: &str) -> Option<(u16, String)> {
        let client = client::http(Path::new(&self.path("ca.pem")), Version::Http1).unwrap();
        let answer = client.get(format!("https://{}{path}", self.control)).timeout(Duration::from_secs(2)).send().await.ok()?;
        Some((answer.status().as_u16(), answer.text().await.ok()?))
    }

    async fn live(&self) {
        let what = "the node's health";
        let live = wait::until(what, WITHIN, async || self.ask("/livez").await.is_some_and(|(status, _)| status == 200)).await;
        assert!(live.is_ok(), "{}", std::fs::read_to_string(self.path("log")).unwrap());
    }
}

/// A node that ends with the test.
struct Running {
    process: Process,
    child: Child,
}

impl Running {
    async fn ended(&mut self) -> Option<i32> {
        wait::some("the node's end", WITHIN, async || self.child.try_wait().unwrap()).await.unwrap().0.code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What is wrong, and the words that must be said.
async fn refuses(what: &str, spoil: impl FnOnce(&Folder), words: &[&str]) {
    let folder = Folder::new();
    spoil(&folder);

    let ran = causeway(&["serve", "--config", &folder.path("node.yaml")], &[], WITHIN).await;

    assert_eq!(ran.code, Some(1), "{what}: {ran:?}");
    for word in words {
        assert!(ran.stderr.contains(word), "{what}: {word:?} is missing in {}", ran.stderr);
    }
    for secret in ["secret-of-the-database", PEPPER, "PRIVATE KEY"] {
        assert!(!ran.stderr.contains(secret), "{what}: a secret is told: {}", ran.stderr);
    }
    assert!(ran.took < Duration::from_secs(5), "{what}: it took {} ms", ran.took.as_millis());
}

fn put(folder: &Folder, name: &str, text: &str) {
    std::fs::write(folder.path(name), text).unwrap();
}

#[tokio::test]
async fn node_file_with_a_mistake_ends_the_start_with_its_place() {
    refuses("missing", |folder| std::fs::remove_file(folder.path("node.yaml")).unwrap(), &["cannot read the node file", "node.yaml", "No such file"])
        .await;
    refuses("unknown key", |folder| folder.edit("spool:", "spol:"), &["node.yaml:12:1", "^^^^", "did you mean `spool`?"]).await;
    refuses("mistake of sense", |folder| folder.edit("node: lonely", "node: \"a b\""), &["node.yaml:2:7", "is not a name"]).await;
    refuses("no address", |folder| folder.edit("listen: \"", "listen: \"everywhere:"), &["node.yaml:4:"]).await;
}

#[tokio::test]
async fn certificate_and_key_that_cannot_be_used_end_the_start_and_are_named() {
    let other = tempfile::tempdir().unwrap();
    app::certs::development(other.path(), &["127.0.0.1".to_owned()], time::OffsetDateTime::now_utc()).unwrap();
    let other_key = std::fs::read_to_string(other.path().join("server.key")).unwrap();

    refuses(
        "no certificate",
        |folder| std::fs::remove_file(folder.path("server.pem")).unwrap(),
        &["data listener's certificate", "server.pem", "No such file"],
    )
    .await;
    refuses("garbled certificate", |folder| put(folder, "server.pem", "-----BEGIN CERTIFICATE-----\n!!!\n"), &["server.pem"]).await;
    refuses("empty certificate", |folder| put(folder, "server.pem", ""), &["server.pem"]).await;
    refuses("no key", |folder| std::fs::remove_file(folder.path("server.key")).unwrap(), &["private key", "server.key", "No such file"]).await;
    refuses("garbled key", |folder| put(folder, "server.key", "garbled\n"), &["server.pem"]).await;
    refuses("empty key", |folder| put(folder, "server.key", ""), &["private key is empty"]).await;
    refuses("key of another certificate", |folder| put(folder, "server.key", &other_key), &["server.pem", "key"]).await;
    refuses(
        "control's certificate alone",
        |folder| {
            put(folder, "other.pem", "nothing");
            folder.edit(&format!("{}\", certificate: server.pem", folder.control), &format!("{}\", certificate: other.pem", folder.control));
        },
        &["control listener's certificate", "other.pem"],
    )
    .await;
}

#[tokio::test]
async fn secret_that_is_missing_or_malformed_ends_the_start_and_is_not_told() {
    refuses("no pepper", |folder| std::fs::remove_file(folder.path("pepper")).unwrap(), &["pepper 1", "No such file"]).await;
    refuses("pepper not in hexadecimal", |folder| put(folder, "pepper", &PEPPER.replace("00", "zz")), &["pepper 1", "64 hexadecimal digits"]).await;
    refuses("short pepper", |folder| put(folder, "pepper", "0011"), &["pepper 1", "64 hexadecimal digits"]).await;
    refuses("empty pepper", |folder| put(folder, "pepper", "\n"), &["pepper 1 is empty"]).await;
    refuses("no password", |folder| std::fs::remove_file(folder.path("password")).unwrap(), &["database password", "No such file"]).await;
    refuses("short snapshot key", |folder| put(folder, "snapshot-key", "00"), &["snapshot key", "64 hexadecimal digits"]).await;
    refuses("variable not set", |folder| folder.edit("file:password", "env:CAUSEWAY_TEST_NOT_SET"), &["CAUSEWAY_TEST_NOT_SET", "not set"]).await;
}

#[tokio::test]
async fn port_that_is_taken_and_folder_that_cannot_be_made_end_the_start_and_are_named() {
    for which in ["data", "control"] {
        let mut held = None;
        refuses(
            "taken port",
            |folder| held = Some(TcpListener::bind(if which == "data" { folder.data } else { folder.control }).unwrap()),
            &["cannot listen on", which, "Address already in use"],
        )
        .await;
    }
    refuses("state under a file", |folder| folder.edit("state: state", "state: server.pem/state"), &["state folder", "server.pem/state"]).await;
    refuses("spool under a file", |folder| folder.edit("dir: spool", "dir: server.pem/spool"), &["audit spool", "server.pem/spool"]).await;
}

/// Without a database and without a snapshot the node has nothing to serve, and waits: restarting it would not help.
#[tokio::test]
async fn node_without_database_and_snapshot_is_live_not_ready_and_ends_in_order() {
    let folder = Folder::new();
    let mut node = folder.start();
    folder.live().await;

    let (status, text) = folder.ask("/readyz?verbose").await.unwrap();
    let client = client::http(Path::new(&folder.path("ca.pem")), Version::Http1).unwrap();
    let refused = client.get(format!("https://{}/demo/v1/echo", folder.data)).timeout(Duration::from_secs(5)).send().await.unwrap();
    let status_of_refusal = refused.status().as_u16();
    node.process.signal(Signal::TERM);

    assert_eq!((status, status_of_refusal), (503, 503), "{text}");
    assert!(text.contains("not ready") && text.contains("no configuration yet") && text.contains("primary does not answer"), "{text}");
    assert_eq!(node.ended().await, Some(0));
}

/// Two writers in one spool would overwrite each other's records.
#[tokio::test]
async fn spool_serves_one_node_alone() {
    let (folder, other) = (Folder::new(), Folder::new());
    let spool = format!("dir: {}", folder.path("spool"));
    let mut node = folder.start();
    folder.live().await;
    other.edit("dir: spool", &spool);

    // A record, so that the spool bears the node's name.
    let client = client::http(Path::new(&folder.path("ca.pem")), Version::Http1).unwrap();
    drop(client.get(format!("https://{}/", folder.data)).send().await.unwrap());

    let twin = causeway(&["serve", "--config", &other.path("node.yaml")], &[], WITHIN).await.expect(1);
    node.process.signal(Signal::TERM);
    let ended = node.ended().await;
    other.edit("node: lonely", "node: stranger");
    let stranger = causeway(&["serve", "--config", &other.path("node.yaml")], &[], WITHIN).await.expect(1);

    assert!(twin.stderr.contains("in use by another process") && twin.stderr.contains(&folder.path("spool")), "{twin:?}");
    assert_eq!(ended, Some(0), "the first one was not disturbed");
    assert!(stranger.stderr.contains("belongs to node lonely, not to stranger"), "{stranger:?}");
}

/// Load balancers see 503 while the node still takes what they send, and what runs is finished.
#[tokio::test(flavor = "multi_thread")]
async fn sigterm_takes_the_node_out_of_rotation_first_and_finishes_what_runs() {
    let dev = Dev::start().await.unwrap();
    let calls = Calls::of(dev.ready()).unwrap();
    let region = dev.writer().unwrap().clone();
    let mut node = Node::adopt(&dev, &region).unwrap();
    let key = calls.first_key().to_owned();
    // Another client: its connection is idle when the node stops, and the slow one's is not.
    #[expect(clippy::disallowed_methods, reason = "a client of its own, joined below")]
    let slow = {
        let (calls, region, key) = (Calls::of(dev.ready()).unwrap(), region.clone(), key.clone());
        tokio::spawn(async move { calls.get(&region, "/demo/v1/slow?ms=3000", &key).await })
    };
    let echo = async || calls.get(&region, "/demo/v1/echo", &key).await;
    assert_eq!(echo().await.unwrap().status, 200);

    node.process().signal(Signal::TERM);
    let (text, took) = wait::some("the node out of rotation", Duration::from_secs(2), async || {
        let (status, text) = calls.readiness(&region).await.ok()?;
        (status == 503).then_some(text)
    })
    .await
    .unwrap();
    let meanwhile = echo().await;
    let slow = slow.await.unwrap().unwrap();
    node.stop().await.unwrap();

    assert!(text.contains("the node is stopping"), "{text}");
    assert!(took < Duration::from_millis(400), "it was told {} ms after the signal", took.as_millis());
    assert_eq!(meanwhile.unwrap().status, 200, "who has not heard of it yet is served");
    assert_eq!(slow.status, 200, "{slow:?}");
    assert!(calls.get(&region, "/demo/v1/echo", &key).await.is_err(), "nothing listens any more");
    dev.stop().await.unwrap();
}

/// The control database of this node alone is away: it starts from what lies on disk, if that is what it sealed itself.
#[tokio::test(flavor = "multi_thread")]
async fn node_without_database_starts_from_its_own_unaltered_snapshot_alone() {
    let dev = Dev::start().await.unwrap();
    let calls = Calls::of(dev.ready()).unwrap();
    let region = dev.reader().unwrap().clone();
    let key = calls.first_key().to_owned();
    let folder = region.node_config.parent().unwrap().to_owned();
    let sealed = folder.join("state/snapshot.sealed");
    wait::until("a sealed snapshot", WITHIN, async || sealed.exists()).await.unwrap();
    let mut node = Node::adopt(&dev, &region).unwrap();
    node.kill().await.unwrap();
    let good = std::fs::read(&sealed).unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let ports = dev.ready().regions.iter().map(|region| format!("127.0.0.1:{}", region.postgres_port)).collect::<Vec<_>>();
    node.reconfigure(|text| ports.iter().fold(text.to_owned(), |text, port| text.replace(port, &format!("127.0.0.1:{closed}")))).unwrap();

    // As it was sealed.
    node.start(Under::Bare).await.unwrap();
    node.wait_ready(WITHIN).await.unwrap();
    let (status, text) = calls.readiness(&region).await.unwrap();
    assert!(status == 200 && text.contains("ready, degraded") && text.contains("read from disk"), "{text}");
    assert_eq!(calls.get(&region, "/demo/v1/social/echo", &key).await.unwrap().status, 200);
    assert_eq!(calls.get(&region, "/demo/v1/finance/echo", &key).await.unwrap().code(), "authority-stale");
    assert_eq!(calls.get(&region, "/demo/v1/social/echo", "cw_live_nobody").await.unwrap().status, 401);
    node.kill().await.unwrap();

    // Too old for any route.
    node.reconfigure(|text| format!("{text}boot_stale_max: 1ms\n")).unwrap();
    node.start(Under::Bare).await.unwrap();
    wait::until("a snapshot in force", WITHIN, async || {
        calls.get(&region, "/demo/v1/social/echo", &key).await.is_ok_and(|answer| answer.code() == "authority-stale")
    })
    .await
    .unwrap();
    node.kill().await.unwrap();

    // One bit is not as it was sealed; a write was cut short; nothing is left.
    let mut altered = good.clone();
    let middle = altered.len() / 2;
    altered[middle] ^= 1;
    let cut = good[..good.len() / 3].to_vec();
    for bytes in [cut, Vec::new(), altered] {
        std::fs::write(&sealed, &bytes).unwrap();
        refuses_snapshot(&mut node, &calls, &sealed, &bytes).await;
        node.kill().await.unwrap();
    }

    // Sealed by whoever holds another key.
    std::fs::write(&sealed, &good).unwrap();
    std::fs::write(folder.join("other-key"), PEPPER).unwrap();
    node.reconfigure(|text| text.replace("file:../secrets/snapshot-key", "file:other-key")).unwrap();
    refuses_snapshot(&mut node, &calls, &sealed, &good).await;
    let served = calls.get(&region, "/demo/v1/social/echo", &key).await.unwrap();
    assert_eq!(served.status, 503, "{served:?}");
    node.kill().await.unwrap();
    dev.stop().await.unwrap();
}

/// The node lives, is not ready, says why, and leaves the file for whoever looks into it.
async fn refuses_snapshot(node: &mut Node, calls: &Calls, sealed: &Path, bytes: &[u8]) {
    let folder = node.region().node_config.parent().unwrap().to_owned();
    let said = || {
        let logs = std::fs::read_dir(&folder).unwrap().flatten().filter(|entry| entry.path().extension().is_some_and(|end| end == "log"));
        logs.map(|entry| std::fs::read_to_string(entry.path()).unwrap().matches("the snapshot on disk cannot be used").count()).sum::<usize>()
    };
    let before = said();

    node.start(Under::Bare).await.unwrap();
    wait::until("the sentence about the snapshot", WITHIN, async || said() > before).await.unwrap();
    let (status, text) = calls.readiness(node.region()).await.unwrap();

    assert!(status == 503 && text.contains("no configuration yet"), "{text}");
    assert_eq!(std::fs::read(sealed).unwrap(), bytes, "the file is left as it is");
}

/// What cannot be written is a lasting trouble for the next start and none for this one.
#[tokio::test(flavor = "multi_thread")]
async fn node_whose_state_folder_takes_nothing_serves_and_says_so() {
    let dev = Dev::start().await.unwrap();
    let calls = Calls::of(dev.ready()).unwrap();
    let region = dev.reader().unwrap().clone();
    let mut node = Node::adopt(&dev, &region).unwrap();
    node.kill().await.unwrap();
    let state = region.node_config.parent().unwrap().join("state");
    std::fs::remove_dir_all(&state).unwrap();
    // As root no mode keeps a process out; a folder in the place of the new file does.
    std::fs::create_dir_all(state.join("snapshot.next")).unwrap();

    node.start(Under::Bare).await.unwrap();
    node.wait_ready(WITHIN).await.unwrap();

    wait::until("the sentence about it", WITHIN, async || {
        calls.readiness(&region).await.is_ok_and(|(status, text)| status == 200 && text.contains("the snapshot could not be written to disk"))
    })
    .await
    .unwrap();
    assert_eq!(calls.get(&region, "/demo/v1/echo", calls.first_key()).await.unwrap().status, 200);
    node.stop().await.unwrap();
    dev.stop().await.unwrap();
}
