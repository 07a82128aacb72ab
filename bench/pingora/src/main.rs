//! A proxy made with pingora and nothing more than a comparison needs: TLS, a map of keys, a limit per key, a JSON line
//! per request, kept-alive connections to one upstream.
//!
//! `bench-pingora --port 8443 --upstream 9000 --certificate cert.pem --private-key key.pem --keys keys.txt --log access.log
//! --rate 1000000` (requests a second per key, with as many at once). Paths that start with `--h2-prefix` go to the upstream
//! over HTTP/2 without TLS, everything else over HTTP/1.1. One worker thread.

mod gate;

use std::error::Error as StdError;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use pingora::http::RequestHeader;
use pingora::listeners::tls::TlsSettings;
use pingora::proxy::{ProxyHttp, Session, http_proxy_service};
use pingora::server::Server;
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, Result};

use crate::gate::{Entry, Gate};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Command line: `--name value` pairs, all but `--h2-prefix` needed.
#[derive(Debug, Default)]
struct Options {
    port: u16,
    upstream: u16,
    certificate: String,
    private_key: String,
    keys: String,
    log: String,
    rate: u64,
    h2_prefix: Option<String>,
}

impl Options {
    fn from_args() -> Result<Self, Box<dyn StdError>> {
        let mut options = Self::default();
        let mut args = std::env::args().skip(1);
        while let Some(name) = args.next() {
            let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
            match name.as_str() {
                "--port" => options.port = value.parse()?,
                "--upstream" => options.upstream = value.parse()?,
                "--certificate" => options.certificate = value,
                "--private-key" => options.private_key = value,
                "--keys" => options.keys = value,
                "--log" => options.log = value,
                "--rate" => options.rate = value.parse()?,
                "--h2-prefix" => options.h2_prefix = Some(value),
                _ => return Err(format!("unknown option {name}").into()),
            }
        }
        if options.port == 0 || options.upstream == 0 || options.rate == 0 {
            return Err("--port, --upstream and --rate must be above zero".into());
        }
        Ok(options)
    }
}

struct Proxy {
    gate: Gate,
    upstream: SocketAddr,
    h2_prefix: Option<String>,
}

/// What a request carries from one filter to the next: when it began, and the number of its key once that was accepted.
struct Passage {
    began: Instant,
    client: Option<usize>,
}

#[async_trait]
impl ProxyHttp for Proxy {
    type CTX = Passage;

    fn new_ctx(&self) -> Passage {
        Passage { began: Instant::now(), client: None }
    }

    async fn request_filter(&self, session: &mut Session, passage: &mut Passage) -> Result<bool> {
        let key = session.req_header().headers.get("x-api-key").map(AsRef::<[u8]>::as_ref);
        match self.gate.admit(key, passage.began) {
            Ok(client) => {
                passage.client = Some(client);
                Ok(false)
            }
            Err(status) => {
                session.respond_error(status).await?;
                Ok(true)
            }
        }
    }

    async fn upstream_peer(&self, session: &mut Session, _: &mut Passage) -> Result<Box<HttpPeer>> {
        let mut peer = HttpPeer::new(self.upstream, false, String::new());
        peer.options.idle_timeout = Some(Duration::from_mins(5));
        if self.h2_prefix.as_ref().is_some_and(|prefix| session.req_header().uri.path().starts_with(prefix)) {
            peer.options.set_http_version(2, 2);
            peer.options.max_h2_streams = 128;
        }
        Ok(Box::new(peer))
    }

    async fn upstream_request_filter(&self, session: &mut Session, request: &mut RequestHeader, _: &mut Passage) -> Result<()> {
        request.remove_header("x-api-key");
        if let Some(address) = session.client_addr().and_then(|address| address.as_inet()) {
            request.insert_header("x-forwarded-for", address.ip().to_string())?;
        }
        Ok(())
    }

    async fn logging(&self, session: &mut Session, _: Option<&Error>, passage: &mut Passage) {
        let request = session.req_header();
        let address = session.client_addr().and_then(|address| address.as_inet()).map(SocketAddr::ip);
        self.gate.log(&Entry {
            micros: passage.began.elapsed().as_micros(),
            status: session.response_written().map_or(0, |response| response.status.as_u16()),
            bytes: session.body_bytes_sent(),
            client: passage.client,
            method: request.method.as_str(),
            path: request.uri.path(),
            address,
        });
    }
}

fn main() -> Result<(), Box<dyn StdError>> {
    let options = Options::from_args()?;
    let conf = ServerConf { threads: 1, upstream_keepalive_pool_size: 4096, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let proxy = Proxy {
        gate: Gate::open(&options.keys, &options.log, options.rate)?,
        upstream: (Ipv4Addr::LOCALHOST, options.upstream).into(),
        h2_prefix: options.h2_prefix,
    };
    let mut service = http_proxy_service(&server.configuration, proxy);
    let mut tls = TlsSettings::intermediate(&options.certificate, &options.private_key)?;
    tls.enable_h2();
    service.add_tls_with_settings(&format!("127.0.0.1:{}", options.port), None, tls);
    server.add_service(service);
    server.run_forever();
}
