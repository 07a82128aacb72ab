//! What people do with curl works through the gateway: a table of its flags.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

use crate::service::{Act, Seen, ok};
use crate::site::{Site, site};

/// Behind each call: the status, the version of HTTP, and how many connections were made for it.
const TOLD: &str = "\n%{http_code} %{http_version} %{num_connects}\n";
/// Bytes of the files that are sent.
const FILE_BYTES: usize = 300_000;

/// One call.
struct Call {
    /// The flags, before the URL. `@file`, `@folder` and `@host` stand for what the test has made.
    flags: &'static [&'static str],
    path: &'static str,
    /// What is written to its standard input.
    input: &'static str,
    expect: Expect,
}

/// What must come of a call. `Says` looks at what curl prints; `Sends` at the request that the service saw, head and body.
enum Expect {
    /// curl ends well, and prints each of these.
    Says(&'static [&'static str]),
    /// The same, and the service saw each of these in the request.
    Sends(&'static [&'static str], &'static [&'static str]),
    /// The same, and the service saw a body of as many bytes as the file has.
    SendsFile(&'static [&'static str], &'static [&'static str]),
    /// curl ends with one of these codes.
    Fails(&'static [i32]),
}

use Expect::{Fails, Says, Sends, SendsFile};

const fn call(flags: &'static [&'static str], path: &'static str, expect: Expect) -> Call {
    Call { flags, path, input: "", expect }
}

const fn with_input(flags: &'static [&'static str], path: &'static str, input: &'static str, expect: Expect) -> Call {
    Call { flags, path, input, expect }
}

const CALLS: &[Call] = &[
    // --- versions
    call(&["--http1.1"], "/curl/v1", Sends(&["200 1.1 1"], &["GET /curl/v1 HTTP/1.1", "via: 1.1 causeway"])),
    call(&["--http2"], "/curl/v2", Sends(&["200 2 1"], &["GET /curl/v2 HTTP/1.1", "via: 2 causeway"])),
    call(&["--http2-prior-knowledge"], "/curl/prior", Says(&["200 2 1"])),
    call(&["--http1.0"], "/curl/v0", Sends(&["\n200 1"], &["via: 1.0 causeway"])),
    call(&["--no-alpn"], "/curl/noalpn", Says(&["200 1.1 1"])),
    // --- uploads
    call(&["--http1.1", "-T", "@file"], "/curl/put1", SendsFile(&["200 1.1"], &["PUT /curl/put1", "content-length: 300000"])),
    call(&["--http2", "-T", "@file"], "/curl/put2", SendsFile(&["200 2"], &["PUT /curl/put2", "content-length: 300000"])),
    with_input(&["--http1.1", "-T", "-"], "/curl/stream1", "what comes", Sends(&["200 1.1"], &["transfer-encoding: chunked", "what comes"])),
    with_input(&["--http2", "-T", "-"], "/curl/stream2", "what comes", Sends(&["200 2"], &["transfer-encoding: chunked", "what comes"])),
    call(
        &["--http1.1", "--data-binary", "@@file", "-H", "Transfer-Encoding: chunked"],
        "/curl/chunked",
        SendsFile(&["200 1.1"], &["transfer-encoding: chunked"]),
    ),
    // It would wait for a minute; the test does not.
    call(&["--http1.1", "-H", "Expect: 100-continue", "--expect100-timeout", "60", "-T", "@file"], "/curl/expect1", SendsFile(&["200 1.1"], &[])),
    call(&["--http2", "-H", "Expect: 100-continue", "--expect100-timeout", "60", "-T", "@file"], "/curl/expect2", SendsFile(&["200 2"], &[])),
    call(&["--http1.1", "-T", "@file"], "/nowhere/refused1", Says(&["404 1.1", "route-not-found"])),
    call(&["--http2", "-T", "@file"], "/nowhere/refused2", Says(&["404 2", "route-not-found"])),
    call(&["--limit-rate", "600K", "-T", "@file"], "/curl/slow", SendsFile(&["200"], &[])),
    // --- forms and queries
    call(&["-d", "a=1", "-d", "b=2"], "/curl/form", Sends(&["200"], &["POST ", "content-type: application/x-www-form-urlencoded", "a=1&b=2"])),
    call(&["--json", "{\"a\": 1}"], "/curl/json", Sends(&["200"], &["content-type: application/json", "{\"a\": 1}"])),
    call(
        &["-F", "name=value", "-F", "upload=@@file"],
        "/curl/multipart",
        Sends(&["200"], &["content-type: multipart/form-data; boundary=", "name=\"name\"", "filename="]),
    ),
    call(&["-G", "--data-urlencode", "q=a b&c/d"], "/curl/query", Sends(&["200"], &["GET /curl/query?q=a", "%26c%2Fd HTTP/1.1"])),
    call(&["-b", "a=1; b=2", "--http2"], "/curl/cookie", Sends(&["200"], &["cookie: a=1; b=2"])),
    // --- methods, ranges, codings
    call(&["-I", "--http1.1"], "/curl/head1", Sends(&["HTTP/1.1 200", "content-length: 10", "200 1.1"], &["HEAD "])),
    call(&["-I", "--http2"], "/curl/head2", Sends(&["HTTP/2 200", "content-length: 10", "200 2"], &["HEAD "])),
    call(&["-X", "OPTIONS"], "/curl/options", Sends(&["200"], &["OPTIONS /curl/options"])),
    call(&["-X", "PURGE"], "/curl/purge", Sends(&["200"], &["PURGE /curl/purge"])),
    call(&["-X", "DELETE"], "/curl/delete", Sends(&["200"], &["DELETE /curl/delete"])),
    call(&["-r", "2-5"], "/curl/range", Sends(&["2345\n206"], &["range: bytes=2-5"])),
    call(&["-C", "7"], "/curl/resume", Sends(&["789\n206"], &["range: bytes=7-"])),
    call(&["--compressed"], "/curl/zip", Sends(&["unzipped\n200"], &["accept-encoding: "])),
    call(&["--tr-encoding", "--http1.1"], "/curl/te", Says(&["0123456789\n200 1.1"])),
    call(&["--raw", "--http1.1", "-H", "TE: trailers"], "/curl/trailers", Says(&["x-sum: 42", "0\r\n"])),
    call(&["--trace-ascii", "-", "--http2"], "/curl/trailers", Says(&["x-sum: 42", "200 2"])),
    call(&["--trace-ascii", "-", "--http1.1", "-H", "TE: trailers"], "/curl/trailers", Says(&["x-sum: 42", "200 1.1"])),
    // --- URLs and hosts
    call(&["--path-as-is"], "/curl/../x", Says(&["path-invalid", "400"])),
    call(&[], "/nowhere/../curl/normal", Sends(&["200"], &["GET /curl/normal HTTP"])),
    call(&["--request-target", "/curl/a#b", "--http1.1"], "/curl/fragment", Says(&["request-malformed", "400"])),
    call(&["-H", "Host: other.example"], "/curl/host", Says(&["host-unknown", "421"])),
    call(&["--connect-to", "127.0.0.1:1:@host"], "@127.0.0.1:1/curl/connect", Sends(&["200"], &["GET /curl/connect"])),
    call(
        &["--resolve", "localhost:@port:127.0.0.1"],
        "@localhost:@port/curl/resolve",
        Sends(&["200"], &["GET /curl/resolve", "x-forwarded-host: localhost"]),
    ),
    // --- TLS
    call(&["--tlsv1.2", "--tls-max", "1.2", "-v"], "/curl/tls12", Says(&["200", "TLSv1.2"])),
    call(&["--tlsv1.3", "-v"], "/curl/tls13", Says(&["200", "TLSv1.3"])),
    call(&["--tlsv1.3", "--tls13-ciphers", "TLS_CHACHA20_POLY1305_SHA256", "-v"], "/curl/chacha", Says(&["200", "TLS_CHACHA20_POLY1305_SHA256"])),
    call(&["--tls-max", "1.2", "--ciphers", "ECDHE-ECDSA-AES128-GCM-SHA256", "-v"], "/curl/cipher", Says(&["200", "ECDHE-ECDSA-AES128-GCM-SHA256"])),
    call(&["--tlsv1.0", "--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0"], "/curl/tls11", Fails(&[35])),
    call(&["--tls-max", "1.2", "--ciphers", "ECDHE-ECDSA-AES128-SHA"], "/curl/cbc", Fails(&[35])),
    call(&["--haproxy-protocol"], "/curl/proxied", Fails(&[35])),
    // --- connections
    call(&["--http1.1", "-H", "Connection: close", "-i"], "/curl/close", Says(&["connection: close", "200 1.1"])),
    call(&["--http1.1", "-w", TOLD, "@again", "-w", TOLD], "/curl/kept", Says(&["200 1.1 1", "200 1.1 0"])),
    call(&["--http2", "@again"], "/curl/kept", Says(&["200 2 0"])),
    call(
        &["--http1.1", "-X", "PUT", "-d", "x", "@again", "--next", "-sS", "-i", "--cacert", "@ca", "-I"],
        "/curl/next",
        Sends(&["200 1.1", "HTTP/1.1 200"], &["HEAD "]),
    ),
    call(&["--http2", "-Z", "--parallel-max", "20"], "/curl/many/[1-40]", Says(&["200 2 0"])),
    call(&["--http1.1", "-Z", "--parallel-max", "20"], "/curl/many/[1-40]", Says(&["200 1.1"])),
    call(&["--max-time", "0.3"], "/curl/hang", Fails(&[28])),
    call(&["--http1.1", "--max-time", "0.3"], "/curl/hang", Fails(&[28])),
];

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    std::io::Write::write_all(&mut encoder, text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// Ten bytes, or a part of them; codings, trailers and silence where the path asks for them.
fn answer(seen: &Seen) -> Vec<Act> {
    const WHOLE: &str = "0123456789";
    let path = seen.line().split(' ').nth(1).unwrap_or_default();
    if path.ends_with("/hang") {
        return vec![Act::Hang];
    }
    if path.ends_with("/zip") {
        let body = gzip("unzipped");
        let head = format!("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", body.len());
        return vec![Act::Send([head.into_bytes(), body].concat().into())];
    }
    if path.ends_with("/trailers") {
        return vec![Act::Send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 42\r\n\r\n".into())];
    }
    if seen.line().starts_with("HEAD ") {
        return vec![Act::Send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n".into())];
    }
    let Some(range) = seen.header("range").first().and_then(|range| range.strip_prefix("bytes=")?.split_once('-')) else { return ok(WHOLE) };
    let first: usize = range.0.parse().unwrap();
    let last: usize = range.1.parse().unwrap_or(WHOLE.len() - 1);
    let part = &WHOLE[first..=last];
    let head = format!("HTTP/1.1 206 Partial Content\r\ncontent-range: bytes {first}-{last}/10\r\ncontent-length: {}\r\n\r\n{part}", part.len());
    vec![Act::Send(head.into())]
}

impl Call {
    async fn run(&self, site: &Site, file: &Path) -> Output {
        let host = site.address().to_string();
        let place = |text: &str| {
            text.replace("@file", &file.display().to_string())
                .replace("@host", &host)
                .replace("@port", &site.address().port().to_string())
                .replace("@ca", &site.ca().display().to_string())
        };
        let url = |path: &str| path.strip_prefix('@').map_or_else(|| site.url(path), |rest| format!("https://{}", place(rest)));
        let mut command = Command::new("curl");
        command.args(["-sS", "--noproxy", "*", "-m", "20", "-w", TOLD, "--cacert"]).arg(site.ca());
        for flag in self.flags {
            command.arg(if *flag == "@again" { url(self.path) } else { place(flag) });
        }
        let piped = command.arg(url(self.path)).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = piped.spawn().expect("curl is installed");
        let mut input = child.stdin.take().unwrap();
        input.write_all(self.input.as_bytes()).await.unwrap();
        drop(input);
        timeout(Duration::from_secs(30), child.wait_with_output()).await.expect("curl ends").unwrap()
    }

    /// What is wrong with what came of it.
    fn complaint(&self, output: &Output, seen: &[Seen]) -> Option<String> {
        let printed = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let code = output.status.code().unwrap_or(-1);
        let (says, sends, has_file): (&[&str], &[&str], bool) = match self.expect {
            Says(says) => (says, &[], false),
            Sends(says, sends) => (says, sends, false),
            SendsFile(says, sends) => (says, sends, true),
            Fails(codes) => return (!codes.contains(&code)).then(|| format!("ended with {code}: {printed}")),
        };
        if code != 0 {
            return Some(format!("ended with {code}: {printed}"));
        }
        if let Some(missing) = says.iter().find(|part| !printed.contains(**part)) {
            return Some(format!("{missing:?} was not printed: {printed}"));
        }
        let seen = seen.last();
        let request = seen.map(|seen| format!("{}\r\n\r\n{}", seen.head, String::from_utf8_lossy(&seen.body))).unwrap_or_default();
        if let Some(missing) = sends.iter().find(|part| !request.to_ascii_lowercase().contains(&part.to_ascii_lowercase())) {
            return Some(format!("{missing:?} did not reach the service: {}", request.get(..request.len().min(800)).unwrap_or_default()));
        }
        let bytes = seen.map_or(0, |seen| seen.body.len());
        (has_file && bytes != FILE_BYTES).then(|| format!("{bytes} bytes reached the service"))
    }
}

#[tokio::test]
async fn what_people_do_with_curl_works() {
    let site = site().await;
    let service = site.service("curl", answer);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, vec![b'a'; FILE_BYTES]).unwrap();

    let mut complaints = Vec::new();
    for call in CALLS {
        let before = service.seen().len();
        let output = call.run(site, &file).await;
        let seen = service.seen().split_off(before);
        if let Some(complaint) = call.complaint(&output, &seen) {
            complaints.push(format!("curl {} {}: {complaint}", call.flags.join(" "), call.path));
        }
    }

    assert!(complaints.is_empty(), "{} of {} calls:\n{}", complaints.len(), CALLS.len(), complaints.join("\n"));
    // A call that curl broke off leaves nothing behind that the next one meets.
    let after = call(&["--http1.1"], "/curl/after", Says(&["0123456789\n200 1.1"]));
    assert_eq!(after.complaint(&after.run(site, &file).await, &[]), None);
}
