use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use control::port::{Called, Gateway, GatewayFault};
use edge::{
    accept::proxy::{self, ProxyProtocol, Source, Version1},
    forwarded::{Field, TrustedHops},
    network::Networks,
    tls::{Asking, Certificates, Chain, ChainTable, UnknownHost},
};
use http::{Request, StatusCode, request};
use rcgen::{CertificateParams, KeyPair};
use rustls::{
    ServerConfig,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use super::{BODY_BYTES_MAX, HEADERS_MAX, OwnGateway, Senders, WITHIN};

const HOST: &str = "api.example.com";
/// The developer.
const ADA: &str = "198.51.100.30";
/// A bound for calls that are to meet it.
const BRIEF: Duration = Duration::from_millis(300);

/// A certificate for a name, and its key, as PEM.
fn issue(host: &str) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![host.to_owned()]).unwrap().self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

fn table(default: &(String, String)) -> ChainTable {
    ChainTable::new(&Chain::read(default.0.as_bytes(), default.1.as_bytes()).unwrap(), &[], UnknownHost::Default)
}

fn own() -> Arc<Certificates> {
    Certificates::new(table(&issue(HOST)))
}

fn tls(certificates: &Arc<Certificates>) -> Arc<ServerConfig> {
    edge::tls::server_config(Arc::clone(certificates), Asking::Nobody).unwrap()
}

/// What a listener saw of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Met {
    source: Option<Source>,
    name: Option<String>,
    request: String,
}

/// What a listener does once it has read a request.
#[derive(Debug, Clone)]
enum Then {
    Close,
    Hang,
}

/// A listener that answers every request with the same bytes; it ends with this value.
struct Listener {
    address: SocketAddr,
    met: Arc<Mutex<Vec<Met>>>,
    _task: JoinSet<()>,
}

impl Listener {
    async fn start(bind: &str, tls: Arc<ServerConfig>, has_header: bool, answer: impl Into<Vec<u8>>, then: Then) -> Self {
        let listener = TcpListener::bind(bind).await.unwrap();
        let (address, met, answer) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<Met>>>::default(), Arc::new(answer.into()));
        let (seen, mut task) = (Arc::clone(&met), JoinSet::new());
        task.spawn(async move {
            let mut served = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, answer, then, seen) = (Arc::clone(&tls), Arc::clone(&answer), then.clone(), Arc::clone(&seen));
                served.spawn(async move { drop(serve(stream, tls, has_header, &answer, then, &seen).await) });
            }
        });
        Self { address, met, _task: task }
    }

    async fn answering(certificates: &Arc<Certificates>, answer: impl Into<Vec<u8>>) -> Self {
        Self::start("127.0.0.1:0", tls(certificates), false, answer, Then::Close).await
    }

    fn met(&self) -> Vec<Met> {
        self.met.lock().unwrap().clone()
    }
}

async fn serve(
    mut stream: TcpStream,
    tls: Arc<ServerConfig>,
    has_header: bool,
    answer: &[u8],
    then: Then,
    met: &Mutex<Vec<Met>>,
) -> std::io::Result<()> {
    let source = if has_header { proxy::read(&mut stream, Version1::Refuse).await.ok() } else { None };
    let mut stream = TlsAcceptor::from(tls).accept(stream).await?;
    let name = stream.get_ref().1.server_name().map(str::to_owned);
    let mut request = Vec::new();
    // The requests here have a body of `{}` or none.
    while !(request.ends_with(b"\r\n\r\n") && !request.starts_with(b"POST") || request.ends_with(b"\r\n\r\n{}")) {
        request.push(stream.read_u8().await?);
    }
    met.lock().unwrap().push(Met { source, name, request: String::from_utf8(request).unwrap() });
    stream.write_all(answer).await?;
    stream.flush().await?;
    match then {
        Then::Close => stream.shutdown().await,
        Then::Hang => std::future::pending().await,
    }
}

fn get() -> request::Builder {
    Request::get("/v1/items").header("host", HOST)
}

async fn call_within(
    address: SocketAddr,
    certificates: &Arc<Certificates>,
    senders: Senders,
    within: Duration,
    request: Request<Bytes>,
) -> Result<Called, GatewayFault> {
    OwnGateway::new(address, Arc::clone(certificates), senders, within).call(ADA.parse().unwrap(), request).await
}

async fn call(address: SocketAddr, certificates: &Arc<Certificates>) -> Result<Called, GatewayFault> {
    call_within(address, certificates, Senders::default(), WITHIN, get().body(Bytes::new()).unwrap()).await
}

fn networks(range: &str) -> Networks {
    Networks::new([range.parse().unwrap()])
}

const FINE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine";

#[tokio::test]
async fn call_is_sent_as_it_is_but_for_the_fields_of_the_connection_and_a_redirect_is_shown() {
    let certificates = own();
    let moved = "HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\nset-cookie: a=1\r\ncontent-length: 5\r\n\r\nmoved";
    let listener = Listener::answering(&certificates, moved).await;
    let request = Request::post("/v1/items?all=%20yes").header("host", "API.example.com:8443").header("x-api-key", "k");
    let request = request.header("connection", "x-api-key, upgrade").header("upgrade", "websocket").header("expect", "100-continue");
    let request = request.header("content-length", "7").header("transfer-encoding", "chunked").header("te", "trailers");

    let called = call_within(listener.address, &certificates, Senders::default(), WITHIN, request.body("{}".into()).unwrap()).await.unwrap();

    assert_eq!((called.response.status(), called.response.body().as_ref(), called.is_cut), (StatusCode::FOUND, &b"moved"[..], false));
    assert_eq!(
        (&called.response.headers()["location"], &called.response.headers()["set-cookie"]),
        (&"/elsewhere".parse().unwrap(), &"a=1".parse().unwrap())
    );
    assert!(called.took > Duration::ZERO && called.took < WITHIN, "{:?}", called.took);
    let [met] = &listener.met()[..] else { panic!("one connection: {:?}", listener.met()) };
    assert_eq!((met.source, met.name.as_deref()), (None, Some(HOST)));
    let mut lines: Vec<&str> = met.request.split("\r\n").collect();
    assert_eq!(lines.remove(0), "POST /v1/items?all=%20yes HTTP/1.1");
    lines.sort_unstable();
    assert_eq!(lines, ["", "connection: close", "content-length: 2", "host: API.example.com:8443", "x-api-key: k", "{}"]);
}

#[tokio::test]
async fn host_that_is_an_address_or_no_host_asks_for_no_name() {
    let certificates = own();
    let listener = Listener::answering(&certificates, FINE).await;
    let hosts = ["127.0.0.1:8443", "[::1]", "a b", ""];

    for host in hosts {
        let request = Request::get("/").header("host", host).body(Bytes::new()).unwrap();
        call_within(listener.address, &certificates, Senders::default(), WITHIN, request).await.unwrap();
    }
    call_within(listener.address, &certificates, Senders::default(), WITHIN, Request::new(Bytes::new())).await.unwrap();

    let names: Vec<_> = listener.met().into_iter().map(|met| met.name).collect();
    assert_eq!(names, [const { None::<String> }; 5]);
}

#[tokio::test]
async fn another_certificate_for_the_same_name_is_refused_before_a_byte_of_the_request() {
    let certificates = own();
    let listener = Listener::answering(&own(), FINE).await;

    let refused = call(listener.address, &certificates).await;

    assert_eq!(refused.unwrap_err(), GatewayFault::Broken);
    assert_eq!(listener.met(), []);
}

/// Shows a certificate whose key it does not have.
#[derive(Debug)]
struct Thief(Arc<CertifiedKey>);

impl ResolvesServerCert for Thief {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// A certificate is no secret: who has it, and another key, must not get a caller's.
#[tokio::test]
async fn own_certificate_without_its_key_is_refused_in_both_versions_of_tls() {
    let pair = issue(HOST);
    let certificates = Certificates::new(table(&pair));
    let shown = CertificateDer::from_pem_slice(pair.0.as_bytes()).unwrap();
    let key = |pem: &str| {
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap();
        rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).unwrap()
    };

    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        for (pem, expected) in [(&pair.1, Ok(())), (&issue(HOST).1, Err(GatewayFault::Broken))] {
            let thief = Thief(Arc::new(CertifiedKey::new(vec![shown.clone()], key(pem))));
            let tls = ServerConfig::builder_with_protocol_versions(&[version]).with_no_client_auth().with_cert_resolver(Arc::new(thief));
            let listener = Listener::start("127.0.0.1:0", Arc::new(tls), false, FINE, Then::Close).await;

            assert_eq!(call(listener.address, &certificates).await.map(drop), expected, "{version:?}");
        }
    }
}

#[tokio::test]
async fn reload_between_two_calls_counts_at_once_and_what_was_replaced_is_trusted_no_more() {
    let (first, second) = (issue(HOST), issue(HOST));
    let certificates = Certificates::new(table(&first));
    let listener = Listener::answering(&certificates, FINE).await;
    let behind = Listener::answering(&Certificates::new(table(&first)), FINE).await;
    assert_eq!(call(listener.address, &certificates).await.map(|called| called.response.status()), Ok(StatusCode::OK));
    assert_eq!(call(behind.address, &certificates).await.map(drop), Ok(()));

    certificates.replace(table(&second));

    assert_eq!(call(listener.address, &certificates).await.map(|called| called.response.status()), Ok(StatusCode::OK));
    assert_eq!(call(behind.address, &certificates).await.map(drop), Err(GatewayFault::Broken));
}

#[tokio::test]
async fn body_is_cut_at_its_bound_and_not_a_byte_before() {
    let certificates = own();

    for (len, expected) in [(0, 0), (BODY_BYTES_MAX, BODY_BYTES_MAX), (BODY_BYTES_MAX + 1, BODY_BYTES_MAX), (3 * BODY_BYTES_MAX, BODY_BYTES_MAX)] {
        let answer = [format!("HTTP/1.1 200 OK\r\ncontent-length: {len}\r\n\r\n").as_bytes(), &vec![b'x'; len]].concat();
        let listener = Listener::answering(&certificates, answer).await;

        let called = call(listener.address, &certificates).await.unwrap();

        assert_eq!((called.response.body().len(), called.is_cut), (expected, len > expected), "{len}");
    }
}

#[tokio::test]
async fn answer_that_does_not_begin_in_time_is_a_fault_and_one_that_does_not_end_is_cut() {
    let certificates = own();
    let silent = Listener::start("127.0.0.1:0", tls(&certificates), false, "", Then::Hang).await;
    let endless = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\ntick\r\n";
    let endless = Listener::start("127.0.0.1:0", tls(&certificates), false, endless, Then::Hang).await;
    // Takes connections, and never says a word of TLS.
    let deaf = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let brief = async |address| call_within(address, &certificates, Senders::default(), BRIEF, get().body(Bytes::new()).unwrap()).await;

    assert_eq!(brief(silent.address).await.unwrap_err(), GatewayFault::TimedOut);
    assert_eq!(silent.met().len(), 1);
    assert_eq!(brief(deaf.local_addr().unwrap()).await.unwrap_err(), GatewayFault::TimedOut);
    let called = brief(endless.address).await.unwrap();
    assert_eq!((called.response.body().as_ref(), called.is_cut), (&b"tick"[..], true));
    assert!(called.took >= BRIEF, "{:?}", called.took);
}

#[tokio::test]
async fn listener_that_takes_no_connection_is_unreachable_and_an_answer_that_breaks_off_is_broken() {
    let certificates = own();
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    assert_eq!(call(closed, &certificates).await.unwrap_err(), GatewayFault::Unreachable);

    // Full: it closes what it accepts.
    let full = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let full_address = full.local_addr().unwrap();
    let (refused, ()) = tokio::join!(call(full_address, &certificates), async { drop(full.accept().await) });
    assert_eq!(refused.unwrap_err(), GatewayFault::Unreachable);

    let fields = |n: usize| (0..n).map(|n| format!("x-{n}: 1\r\n")).collect::<Vec<_>>().concat();
    let cases = [
        ("no HTTP".to_owned(), Err(GatewayFault::Broken)),
        (String::new(), Err(GatewayFault::Broken)),
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort".to_owned(), Err(GatewayFault::Broken)),
        (format!("HTTP/1.1 200 OK\r\n{}content-length: 0\r\n\r\n", fields(HEADERS_MAX - 1)), Ok(())),
        (format!("HTTP/1.1 200 OK\r\n{}content-length: 0\r\n\r\n", fields(HEADERS_MAX)), Err(GatewayFault::Broken)),
    ];
    for (answer, expected) in cases {
        let listener = Listener::answering(&certificates, answer.clone()).await;
        assert_eq!(call(listener.address, &certificates).await.map(drop), expected, "{answer}");
    }
}

#[tokio::test]
async fn listener_on_every_address_is_reached_over_loopback() {
    let certificates = own();
    for bind in ["0.0.0.0:0", "[::]:0"] {
        let listener = Listener::start(bind, tls(&certificates), false, FINE, Then::Close).await;
        assert!(listener.address.ip().is_unspecified());

        assert_eq!(call(listener.address, &certificates).await.map(drop), Ok(()), "{bind}");
    }
    assert_eq!(super::reachable("192.0.2.7:443".parse().unwrap()), "192.0.2.7:443".parse().unwrap());
    assert_eq!(super::reachable("0.0.0.0:443".parse().unwrap()), "127.0.0.1:443".parse().unwrap());
    assert_eq!(super::reachable("[::]:443".parse().unwrap()), "[::1]:443".parse().unwrap());
}

/// Who may say whose call it is, must: a balancer's header is insisted on, and a field that the caller wrote would be believed.
#[tokio::test]
async fn caller_is_told_where_this_machine_is_believed_and_cannot_name_another() {
    let certificates = own();
    let from = |range| Some(ProxyProtocol { from: networks(range), version_1: Version1::Refuse });
    let hops = |field, range| Some(TrustedHops::new(field, networks(range)));
    let ada: IpAddr = ADA.parse().unwrap();
    let forged = "203.0.113.66";
    let (loopback, elsewhere) = ("127.0.0.0/8", "10.0.0.0/8");
    let told = format!("x-forwarded-for: {ADA}");
    let untouched = format!("x-forwarded-for: {forged}");
    let cases = [
        (Senders::default(), None, untouched.as_str()),
        (Senders { proxy: from(elsewhere), hops: hops(Field::XForwardedFor, elsewhere) }, None, &untouched),
        (Senders { proxy: from(loopback), hops: None }, Some(Source::Client(ada)), &untouched),
        (Senders { proxy: None, hops: hops(Field::XForwardedFor, loopback) }, None, &told),
        // Behind a header it is the caller's address that could be a hop's.
        (Senders { proxy: from(loopback), hops: hops(Field::XForwardedFor, loopback) }, Some(Source::Client(ada)), &untouched),
        (Senders { proxy: from(loopback), hops: hops(Field::XForwardedFor, "198.51.100.0/24") }, Some(Source::Client(ada)), &told),
        (Senders { proxy: None, hops: hops(Field::Forwarded, loopback) }, None, &format!("forwarded: for={ADA}")),
    ];

    for (senders, source, line) in cases {
        let listener = Listener::start("127.0.0.1:0", tls(&certificates), source.is_some(), FINE, Then::Close).await;
        let request = get().header("x-forwarded-for", forged).header("forwarded", format!("for={forged}")).body(Bytes::new()).unwrap();

        call_within(listener.address, &certificates, senders.clone(), WITHIN, request).await.unwrap();

        let met = listener.met();
        assert_eq!(met[0].source, source, "{senders:?}");
        let name = line.split_once(' ').unwrap().0;
        let lines: Vec<&str> = met[0].request.split("\r\n").filter(|line| line.starts_with(name)).collect();
        assert_eq!(lines, [line], "{senders:?}");
    }
}
