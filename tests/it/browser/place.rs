//! Pages over TLS, as strict as those of the portal: a good one, and one with what must be found.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use harness::listening::accept_each;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::task::JoinSet;

/// A form, a script that makes an element late, and colors for light and dark.
const GOOD: &str = r#"<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Sign up</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="stylesheet" href="/style.css"><script src="/late.js" defer></script></head>
<body><main><h1>Sign up</h1><form method="post" action="/welcome"><p><label for="name">Name</label> <input id="name" name="name"></p>
<p><button id="send">Send</button></p></form></main></body></html>"#;

/// Serious for people: an image without a text, gray on white, targets too small and too close. For the browser: a script that is forbidden.
const BAD: &str = r#"<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Bad</title><link rel="stylesheet" href="/style.css"></head>
<body><main><h1>Bad</h1><img id="dumb" src="/dot.svg" width="40" height="40"><p id="pale">Hardly to be read</p>
<button class="tiny">a</button><button class="tiny">b</button></main><script>document.title = "run"</script></body></html>"#;

const STYLE: &str = "body { background: #fff; color: #111 } #pale { color: #bbb } .tiny { width: 9px; height: 9px; padding: 0; border: 0 }
@media (prefers-color-scheme: dark) { body { background: #111; color: #eee } }";

const LATE: &str = "setTimeout(() => { const p = document.createElement('p'); p.id = 'late'; p.textContent = 'here'; document.querySelector('main').append(p) }, 300)";

const DOT: &str = r#"<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40"><circle cx="20" cy="20" r="9"/></svg>"#;

/// The server, with a CA of its own.
pub(super) struct Place {
    pub(super) address: SocketAddr,
    pub(super) ca: PathBuf,
    _folder: TempDir,
    _tasks: JoinSet<()>,
}

impl Place {
    pub(super) async fn open() -> Self {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let ca = folder.path().join("ca.pem");
        std::fs::write(&ca, authority.pem()).unwrap();
        harness::client::install_provider();
        let key = key.serialize_der().try_into().unwrap();
        let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(vec![leaf.der().clone()], key).unwrap();
        let tls = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let tasks = accept_each(listener, move |stream| {
            let tls = tls.clone();
            async move {
                let Ok(stream) = tls.accept(stream).await else { return };
                let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new()).http1_only();
                drop(server.serve_connection(TokioIo::new(stream), service_fn(answer)).await);
            }
        });
        Self { address, ca, _folder: folder, _tasks: tasks }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.address)
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let cookie = request.headers().get("cookie").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let form = request.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let (kind, text) = match path.as_str() {
        "/good" => ("text/html", GOOD.to_owned()),
        "/bad" => ("text/html", BAD.to_owned()),
        "/style.css" => ("text/css", STYLE.to_owned()),
        "/late.js" => ("text/javascript", LATE.to_owned()),
        "/dot.svg" => ("image/svg+xml", DOT.to_owned()),
        "/welcome" => {
            ("text/html", format!("<!doctype html><title>Welcome</title><p id=form>{}<p id=cookie>{cookie}", String::from_utf8_lossy(&form)))
        }
        _ => ("text/plain", String::new()),
    };
    let response = Response::builder()
        .status(if text.is_empty() { 404 } else { 200 })
        .header("content-type", kind)
        .header("content-security-policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; form-action 'self'")
        .header("set-cookie", "__Host-session=s1; Path=/; Secure; HttpOnly; SameSite=Strict");
    Ok(response.body(Full::from(text)).unwrap())
}
