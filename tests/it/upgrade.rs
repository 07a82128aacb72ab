//! Another process of the node takes over while clients call: no connection is refused, reset or cut, and no record is lost.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use harness::client::Version;
use harness::process::Process;
use harness::wait;
use rustix::process::Signal;
use tokio::task::JoinSet;

use crate::operation::{START_WITHIN, Station, dial, once, tls};
use crate::site::SOON;
use crate::wire::Wire;

fn with_handover(mut text: String) -> String {
    text.push_str("handover: { socket: run.sock }\nlimits: { handshakes_per_address: 100000 }\n");
    text
}

/// Calls that are made until they are told to stop, and what became of them.
struct Load {
    tasks: JoinSet<Vec<String>>,
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
}

impl Load {
    fn start(station: &Station) -> Self {
        let (stop, sent) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let mut tasks = JoinSet::new();
        let (to, ca, key) = (station.address(), station.ca().to_owned(), station.calls.first_key().to_owned());
        let request =
            move |id: usize| format!("GET /demo/v1/social/echo HTTP/1.1\r\nhost: 127.0.0.1\r\nx-api-key: {key}\r\nx-request-id: takeover-{id}\r\n");
        // A connection for each call: refused or reset ones show here.
        for _ in 0..3 {
            let (stop, sent, request, config) = (Arc::clone(&stop), Arc::clone(&sent), request.clone(), tls(&ca));
            tasks.spawn(async move {
                let mut failed = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let id = sent.fetch_add(1, Ordering::Relaxed);
                    let called = async {
                        let mut stream = dial(to, None, b"", "127.0.0.1", Arc::clone(&config)).await?;
                        once(&mut stream, &format!("{}connection: close\r\n\r\n", request(id))).await
                    };
                    match called.await {
                        Ok(answer) if answer.starts_with("HTTP/1.1 200 ") => {}
                        other => failed.push(format!("a connection of its own, call {id}: {other:?}")),
                    }
                }
                failed
            });
        }
        // Kept connections, left when the answer says so and not before.
        for _ in 0..3 {
            let (stop, sent, request, ca) = (Arc::clone(&stop), Arc::clone(&sent), request.clone(), ca.clone());
            tasks.spawn(async move {
                let mut failed = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let mut wire = Wire::connect(to, &ca, "http/1.1", None).await;
                    while !stop.load(Ordering::Relaxed) {
                        let id = sent.fetch_add(1, Ordering::Relaxed);
                        wire.send(format!("{}\r\n", request(id))).await;
                        match wire.answer().await {
                            Some(answer) if answer.status == 200 => {
                                if answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
                                    break;
                                }
                            }
                            other => {
                                failed.push(format!("a kept connection, call {id}: {other:?}"));
                                break;
                            }
                        }
                    }
                }
                failed
            });
        }
        // HTTP/2, by a client that knows GOAWAY.
        for _ in 0..2 {
            let (stop, sent, http, url) =
                (Arc::clone(&stop), Arc::clone(&sent), station.http(Version::Http2), format!("{}/demo/v1/social/echo", station.region.data));
            let key = station.calls.first_key().to_owned();
            tasks.spawn(async move {
                let mut failed = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let id = sent.fetch_add(1, Ordering::Relaxed);
                    let called = http.get(&url).header("x-api-key", &key).header("x-request-id", format!("takeover-{id}")).send().await;
                    match called {
                        Ok(answer) if answer.status() == 200 => drop(answer.bytes().await),
                        other => failed.push(format!("HTTP/2, call {id}: {other:?}")),
                    }
                }
                failed
            });
        }
        // What a load balancer asks.
        let (stop_probe, http, url) = (Arc::clone(&stop), station.http(Version::Http1), format!("{}/readyz", station.region.control));
        tasks.spawn(async move {
            let mut failed = Vec::new();
            let mut pulse = tokio::time::interval(Duration::from_millis(50));
            while !stop_probe.load(Ordering::Relaxed) {
                pulse.tick().await;
                match http.get(&url).send().await {
                    Ok(answer) if answer.status() == 200 => drop(answer.bytes().await),
                    other => failed.push(format!("a probe: {other:?}")),
                }
            }
            failed
        });
        Self { tasks, stop, sent }
    }

    async fn more(&self, calls: usize) {
        let aim = self.sent.load(Ordering::Relaxed) + calls;
        wait::until("calls", START_WITHIN, async || self.sent.load(Ordering::Relaxed) >= aim).await.unwrap();
    }

    async fn finish(mut self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let mut failed = Vec::new();
        while let Some(of_one) = self.tasks.join_next().await {
            failed.extend(of_one.unwrap());
        }
        (self.sent.load(Ordering::Relaxed), failed)
    }
}

/// Each process records into a spool folder of its own, and what it leaves is loaded by the one after it.
#[tokio::test(flavor = "multi_thread")]
async fn process_takes_over_from_process_under_load_without_a_refused_reset_or_cut_call_or_a_lost_record() {
    let station = Station::start(with_handover).await;
    let mut serving = station.serve().await;
    let load = Load::start(&station);
    let mut whole = JoinSet::new();

    for round in 0..3 {
        load.more(60).await;
        // One that is under way for the whole of the hand-over.
        let (calls, region, key) = (station.calls.clone(), station.region.clone(), station.calls.first_key().to_owned());
        whole.spawn(async move { calls.get(&region, "/demo/v1/slow?ms=4000", &key).await });
        load.more(10).await;
        // Another number of cores each time: sockets are dealt anew.
        station.edit(|text| format!("{}cores: {}\n", text.split("cores:").next().unwrap(), [3, 1, 2][round]));
        let next = station.launch(|_| {});
        let took_over = wait::until("a take-over", START_WITHIN, async || next.said("took over; the process before finishes")).await;
        assert!(took_over.is_ok(), "{}\n{}", serving.log(), next.log());
        load.more(60).await;
        assert_eq!(serving.ended(Duration::from_secs(30)).await, Some(0), "{}", serving.log());
        assert!(serving.said("handed over"), "{}", serving.log());
        serving = next;
    }

    load.more(60).await;
    let (sent, failed) = load.finish().await;
    assert!(failed.is_empty(), "{} of {sent} calls failed: {:#?}", failed.len(), &failed[..failed.len().min(5)]);
    while let Some(slow) = whole.join_next().await {
        assert_eq!(slow.unwrap().unwrap().status, 200, "a call that was under way is finished");
    }
    let sql = station.sql();
    let recorded = async || {
        sql.ask("causeway", "select count(distinct request_id), count(*) from audit_event where request_id like 'takeover-%' and phase = 'outcome'")
            .await
            .unwrap()
    };
    let expected = format!("{sent}|{sent}");
    let all = wait::until("every record, once", START_WITHIN, async || recorded().await == [expected.as_str()]).await;
    assert!(all.is_ok(), "{sent} calls, recorded {:?}", recorded().await);
    serving.process.signal(Signal::TERM);
    assert_eq!(serving.ended(Duration::from_secs(30)).await, Some(0));
    assert!(!station.folder().join("run.sock").exists());
    station.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn successor_that_cannot_serve_changes_nothing_and_a_stranger_gets_nothing() {
    let station = Station::start(with_handover).await;
    let mut serving = station.serve().await;
    let served = async || station.calls.get(&station.region, "/demo/v1/social/echo", station.calls.first_key()).await.unwrap().status;
    let good = std::fs::read_to_string(station.folder().join("node.operation.yaml")).unwrap();

    // Both fail after they have the sockets: one cannot make its spool, the other is killed.
    station.edit(|text| text.replace("dir: spool,", "dir: node.yaml/spool,"));
    let mut broken = station.launch(|_| {});
    assert_eq!(broken.ended(START_WITHIN).await, Some(1), "{}", broken.log());
    station.edit(|_| good.clone());
    let mut killed = station.launch(|_| {});
    wait::until("the sockets", START_WITHIN, async || killed.said("taking over from a process that serves")).await.unwrap();
    killed.process.signal(Signal::KILL);
    killed.ended(SOON).await;
    station.edit(|text| text.replace("node: eu-west-1", "node: eu-west-2"));
    let mut stranger = station.launch(|_| {});
    assert_eq!(stranger.ended(START_WITHIN).await, Some(1), "{}", stranger.log());
    assert!(stranger.said("this is node eu-west-1, not eu-west-2"), "{}", stranger.log());
    station.edit(|_| good);

    assert_eq!(served().await, 200);
    assert!(serving.process.is_alive() && serving.said("this process goes on serving"), "{}", serving.log());
    // And the next one succeeds.
    let mut next = station.serve().await;
    wait::until("a take-over", START_WITHIN, async || next.said("took over")).await.unwrap();
    assert_eq!(serving.ended(Duration::from_secs(30)).await, Some(0), "{}", serving.log());
    assert_eq!(served().await, 200);
    next.process.signal(Signal::TERM);
    assert_eq!(next.ended(Duration::from_secs(30)).await, Some(0));
    station.stop().await;
}

fn heard(socket: &UnixDatagram) -> String {
    let mut buffer = [0_u8; 512];
    let len = socket.recv(&mut buffer).unwrap_or_else(|error| panic!("the supervisor heard nothing: {error}"));
    String::from_utf8(buffer[..len].to_vec()).unwrap()
}

/// The next message that is no sign of life.
fn next_message(socket: &UnixDatagram) -> String {
    loop {
        let text = heard(socket);
        if text != "WATCHDOG=1" {
            return text;
        }
    }
}

/// As systemd starts it: sockets that were bound before, messages to a supervisor, and an upgrade by SIGUSR2.
#[tokio::test(flavor = "multi_thread")]
async fn node_takes_passed_sockets_tells_its_supervisor_and_starts_its_own_successor() {
    let station = Station::start(with_handover).await;
    let supervisor = UnixDatagram::bind(station.folder().join("notify.sock")).unwrap();
    supervisor.set_read_timeout(Some(START_WITHIN)).unwrap();
    // A port that nobody listens on may be some client's own for a moment.
    let listen = async |url: &str| {
        let address = url.strip_prefix("https://").unwrap().to_owned();
        wait::some("the port", START_WITHIN, async || std::net::TcpListener::bind(&address).ok()).await.unwrap().0
    };
    let (data, control) = (listen(&station.region.data).await, listen(&station.region.control).await);
    let (data_held, control_held) = (data.try_clone().unwrap(), control.try_clone().unwrap());
    // Descriptors 3 and 4, under the process id that the variables name.
    let script = "exec 3<&0 4>&1 0</dev/null 1>&2; export LISTEN_PID=$$; exec \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).args(station.arguments());
    let mut node = station.run(command, |command| {
        command.stdin(Stdio::from(OwnedFd::from(data))).stdout(Stdio::from(OwnedFd::from(control)));
        command.env("LISTEN_FDS", "2").env("LISTEN_FDNAMES", "data:control");
        command.env("NOTIFY_SOCKET", station.folder().join("notify.sock")).env("WATCHDOG_USEC", "600000");
    });

    let pid = node.process.pid();
    let ready = tokio::task::block_in_place(|| next_message(&supervisor));
    assert_eq!(ready, format!("READY=1\nMAINPID={pid}\nSTATUS=serving"), "{}", node.log());
    assert_eq!(heard(&supervisor), "WATCHDOG=1", "a core that turns is a sign of life");
    let served =
        async || station.calls.get(&station.region, "/demo/v1/social/echo", station.calls.first_key()).await.map(|answer| answer.status).ok();
    wait::until("a call on the passed socket", START_WITHIN, async || served().await == Some(200)).await.unwrap();
    drop((data_held, control_held));
    node.process.signal(Signal::HUP);
    assert!(next_message(&supervisor).starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert!(next_message(&supervisor).starts_with("READY=1\n"));

    node.process.signal(Signal::USR2);
    let ready = tokio::task::block_in_place(|| next_message(&supervisor));
    let successor: u32 = ready.lines().find_map(|line| line.strip_prefix("MAINPID=")?.parse().ok()).unwrap();
    let successor = Process::of(successor).unwrap();
    assert_ne!(successor.pid(), pid);
    assert_eq!(node.ended(Duration::from_secs(30)).await, Some(0), "{}", node.log());
    wait::until("a call on the socket that was handed over", START_WITHIN, async || served().await == Some(200)).await.unwrap();
    successor.signal(Signal::TERM);
    assert!(next_message(&supervisor).starts_with("STOPPING=1\n"));
    successor.wait_gone(Duration::from_secs(30)).await.unwrap();
    station.stop().await;
}
