//! A whole deployment, as `causeway dev` starts it: the contract for scripts, and that nothing a client sends hurts it.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use harness::client::{RawTls, Version};
use harness::dev::{Dev, RegionReady, Role};
use harness::process::Process;
use harness::wait;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const LIMIT: Duration = Duration::from_secs(10);

/// `GET` on a control listener, as JSON.
async fn control(dev: &Dev, region: &RegionReady, path: &str) -> Value {
    let client = dev.client(Version::Http1).unwrap();
    let request = client.get(format!("{}{path}", region.control)).bearer_auth(&dev.ready().operator_token);
    request.send().await.unwrap().json().await.unwrap()
}

async fn issue(dev: &Dev, body: &Value) -> Value {
    let client = dev.client(Version::Http1).unwrap();
    let url = format!("{}/v1/keys", dev.writer().unwrap().control);
    let answer = client.post(url).bearer_auth(&dev.ready().operator_token).json(body).send().await.unwrap();
    assert_eq!(answer.status(), 201);
    answer.json().await.unwrap()
}

/// The ready file is the contract for scripts, and Ctrl-C leaves no process behind.
#[tokio::test(flavor = "multi_thread")]
async fn deployment_comes_up_as_its_ready_file_says_and_leaves_no_process() {
    let dev = Dev::start().await.unwrap();
    let ready = dev.ready().clone();

    let names: Vec<_> = ready.regions.iter().map(|region| (region.name.as_str(), region.role)).collect();
    assert_eq!(names, [("eu-west", Role::Writer), ("us-east", Role::Reader)]);
    for region in &ready.regions {
        for path in [&region.node_config, &region.spool_dir, &region.postgres_data_dir, &ready.ca] {
            assert!(path.is_absolute() && path.exists(), "{}", path.display());
        }
        assert!(Process::of(region.postgres_pid).unwrap().command().contains("postgres"));
        assert!(Process::of(region.node_pid).unwrap().command().contains("serve"));
        for version in [Version::Http1, Version::Http2] {
            let client = dev.client(version).unwrap();
            let answer = client.get(format!("{}/demo/v1/echo", region.data)).bearer_auth(&ready.api_key).send().await.unwrap();
            assert_eq!(answer.status(), 200, "{} {version:?}", region.name);
            assert!(answer.headers().contains_key("x-request-id"));
        }
    }
    dev.stop().await.unwrap();
}

/// State lives on between runs: a key issued in the first run works in the second.
#[tokio::test(flavor = "multi_thread")]
async fn key_issued_in_one_run_works_in_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let dev = Dev::start_in(dir.path()).await.unwrap();
    let key = issue(&dev, &json!({ "name": "kept" })).await;
    dev.stop().await.unwrap();

    let dev = Dev::start_in(dir.path()).await.unwrap();
    let client = dev.client(Version::Http1).unwrap();
    for region in &dev.ready().regions {
        let url = format!("{}/demo/v1/echo", region.data);
        let answer = client.get(url).header("x-api-key", key["secret"].as_str().unwrap()).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{}", region.name);
    }
    dev.stop().await.unwrap();
}

/// Issue 2: the limit, the bad body, the key's birth and its end, each shows in the access log with its request id.
#[tokio::test(flavor = "multi_thread")]
async fn access_log_shows_each_act_once_and_never_a_secret() {
    let dev = Dev::start().await.unwrap();
    let (writer, client) = (dev.writer().unwrap(), dev.client(Version::Http1).unwrap());
    let key = issue(&dev, &json!({ "name": "logged" })).await;
    let secret = key["secret"].as_str().unwrap().to_owned();
    let served = format!("{}/demo/v1/echo", writer.data);
    wait::until("the key", LIMIT, async || client.get(&served).header("x-api-key", &secret).send().await.is_ok_and(|answer| answer.status() == 200))
        .await
        .unwrap();

    let mut wanted = Vec::new();
    let bad = json!({ "name": "x", "quantity": -1 });
    let items = format!("{}/demo/v1/items", writer.data);
    let mut requests = vec![client.post(items).header("x-api-key", &secret).json(&bad)];
    let limited = format!("{}/demo/v1/limited?token=hidden", writer.data);
    requests.extend((0..6).map(|_| client.get(&limited).header("x-api-key", &secret)));
    let revoke = format!("{}/v1/keys/{}/revoke", writer.control, key["id"].as_str().unwrap());
    requests.push(client.post(revoke).bearer_auth(&dev.ready().operator_token));
    for request in requests {
        let answer = request.send().await.unwrap();
        let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
        wanted.push((id, answer.status().as_u16()));
    }
    let statuses: Vec<u16> = wanted.iter().map(|(_, status)| *status).collect();

    assert_eq!(statuses[..7], [422, 200, 200, 200, 200, 200, 429]);
    assert_eq!(statuses[7] / 100, 2, "the revocation");
    for (id, status) in wanted {
        let path = format!("/v1/audit/events?request_id={id}&phase=outcome");
        let (found, _) = wait::some("the record", LIMIT, async || {
            let page = control(&dev, writer, &path).await;
            let items = page["items"].as_array().cloned().unwrap_or_default();
            (!items.is_empty()).then_some(items)
        })
        .await
        .unwrap();
        assert_eq!(found.len(), 1, "one act, one outcome: {id}");
        assert_eq!(found[0]["status"], status, "{id}");
        let text = found[0].to_string();
        assert!(!text.contains(&secret) && !text.contains("hidden"), "{text}");
    }
    dev.stop().await.unwrap();
}

/// What the service receives: no header that could mislead it, and no credential.
#[tokio::test(flavor = "multi_thread")]
async fn service_receives_no_hop_by_hop_header_no_credential_and_no_forged_identity() {
    let dev = Dev::start().await.unwrap();
    let region = dev.writer().unwrap();
    let key = &dev.ready().api_key;
    let request = format!(
        "GET /demo/v1/echo HTTP/1.1\r\nhost: 127.0.0.1\r\nx-api-key: {key}\r\nconnection: x-secret-hop, close\r\nx-secret-hop: 1\r\n\
         keep-alive: timeout=5\r\nte: gzip\r\nproxy-authorization: Basic YQ==\r\ncauseway-principal: forged\r\nx-kept: yes\r\n\r\n"
    );

    let answer = exchange(&dev, region, request.as_bytes()).await.unwrap();
    let seen: Value = serde_json::from_slice(&answer.body).unwrap();
    let headers = seen["headers"].as_object().unwrap();

    assert_eq!(headers["x-kept"], "yes");
    for name in ["x-api-key", "x-secret-hop", "keep-alive", "proxy-authorization", "causeway-principal", "te"] {
        assert!(!headers.contains_key(name), "{name} reached the service: {seen}");
    }
    dev.stop().await.unwrap();
}

async fn exchange(dev: &Dev, region: &RegionReady, bytes: &[u8]) -> anyhow::Result<harness::client::RawAnswer> {
    let mut stream = RawTls::connect(region.data_address()?, "localhost", &dev.ready().ca, "http/1.1").await?;
    stream.send(bytes).await?;
    stream.answer(LIMIT).await
}

/// Literal bytes on the data listener, and the statuses of which one must come; 0 stands for a closed connection.
type Hostile = (&'static str, String, &'static [u16]);

fn hostile(key: &str) -> Vec<Hostile> {
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nx-api-key: {key}\r\n\r\n");
    let with = |headers: &str| format!("GET /demo/v1/echo HTTP/1.1\r\nx-api-key: {key}\r\n{headers}\r\n");
    let post = |headers: &str, body: &str| {
        format!("POST /demo/v1/items HTTP/1.1\r\nhost: localhost\r\nx-api-key: {key}\r\ncontent-type: application/json\r\n{headers}\r\n{body}")
    };
    vec![
        ("unknown host", with("host: evil.example\r\n"), &[421]),
        ("no host", with(""), &[400]),
        ("two hosts", with("host: localhost\r\nhost: evil.example\r\n"), &[400]),
        ("dot segments", get("/demo/v1/../v1/echo"), &[400, 404]),
        ("encoded dot segments", get("/demo/v1/%2e%2e/v1/echo"), &[400, 404]),
        ("double slash", get("/demo//v1/echo"), &[400, 404]),
        ("encoded slash", get("/demo/v1%2Fecho"), &[400, 404]),
        ("nul", get("/demo/v1/echo%00"), &[400, 404]),
        ("overlong utf-8", get("/demo/v1/%c0%ae%c0%ae/echo"), &[400, 404]),
        ("broken percent", get("/demo/v1/%zz"), &[400, 404]),
        ("length and chunked", post("content-length: 5\r\ntransfer-encoding: chunked\r\n", "0\r\n\r\n"), &[400]),
        ("two lengths", post("content-length: 5\r\ncontent-length: 6\r\n", "hello!"), &[400]),
        ("bad chunk", post("transfer-encoding: chunked\r\n", "zz\r\nhello\r\n0\r\n\r\n"), &[400, 0]),
        ("folded header", with("host: localhost\r\nx-a: b\r\n c\r\n"), &[400]),
        ("space before the colon", with("host : localhost\r\n"), &[400]),
        ("garbage line", "HELLO\r\n\r\n".to_owned(), &[400, 0]),
        ("huge header", with(&format!("host: localhost\r\nx-big: {}\r\n", "a".repeat(1 << 20))), &[431, 400, 0]),
        ("many headers", with(&format!("host: localhost\r\n{}", "x-n: 1\r\n".repeat(2000))), &[431, 400, 0]),
        ("long target", get(&format!("/{}", "a".repeat(1 << 17))), &[414, 431, 400, 0]),
        ("strange expectation", with("host: localhost\r\nexpect: the-unexpected\r\n"), &[417]),
        ("invalid json", post("content-length: 5\r\n", "{\"a\":"), &[400, 422]),
        ("key in the query", "GET /demo/v1/echo?api_key=x HTTP/1.1\r\nhost: localhost\r\n\r\n".to_owned(), &[400, 401]),
        ("no key", "GET /demo/v1/echo HTTP/1.1\r\nhost: localhost\r\n\r\n".to_owned(), &[401]),
    ]
}

/// Issue 2, "Bad input": a clear error or a closed connection, no process exit, no hang past the deadline; and a lawful request
/// is served after each.
#[tokio::test(flavor = "multi_thread")]
async fn hostile_bytes_are_refused_and_the_node_serves_on() {
    let dev = Dev::start().await.unwrap();
    let region = dev.writer().unwrap();
    let lawful = format!("GET /demo/v1/echo HTTP/1.1\r\nhost: localhost\r\nx-api-key: {}\r\n\r\n", dev.ready().api_key);

    let mut wrong = Vec::new();
    for (name, bytes, expected) in hostile(&dev.ready().api_key) {
        let status = exchange(&dev, region, bytes.as_bytes()).await.map_or(0, |answer| answer.status);
        if !expected.contains(&status) {
            wrong.push(format!("{name}: {status}, expected one of {expected:?}"));
        }
        let after = exchange(&dev, region, lawful.as_bytes()).await.map_or(0, |answer| answer.status);
        if after != 200 {
            wrong.push(format!("after {name} a lawful request was answered {after}"));
        }
    }

    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(Process::of(region.node_pid).unwrap().is_alive());
    dev.stop().await.unwrap();
}

/// Sends bytes without TLS and reads what comes until the end, or fails after the limit.
async fn plain(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // A reset is an end too.
    drop(tokio::time::timeout(LIMIT, stream.read_to_end(&mut answer)).await.expect("the connection ends"));
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn port_that_speaks_tls_ends_garbage_plain_http_and_strangers() {
    let dev = Dev::start().await.unwrap();
    let region = dev.writer().unwrap();
    let address = region.data_address().unwrap();

    let http = plain(address, b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    let garbage = plain(address, &[0x5a; 600]).await;
    let stranger = RawTls::connect(address, "localhost", &other_ca(), "http/1.1").await;

    for answer in [&http, &garbage] {
        let text = String::from_utf8_lossy(answer);
        assert!(answer.is_empty() || text.starts_with("HTTP/1.1 400") || answer[0] == 0x15, "a 400, an alert or nothing: {text}");
    }
    let refusal = format!("{:#}", stranger.expect_err("a certificate of another CA is not believed"));
    assert!(refusal.contains("invalid peer certificate"), "{refusal}");
    let answer =
        dev.client(Version::Http2).unwrap().get(format!("{}/demo/v1/echo", region.data)).bearer_auth(&dev.ready().api_key).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    dev.stop().await.unwrap();
}

/// Any CA but the deployment's: one that the operating system trusts.
fn other_ca() -> std::path::PathBuf {
    let places = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];
    let found = places.iter().map(Path::new).find(|path| path.exists());
    found.expect("ca-certificates is installed").to_owned()
}
