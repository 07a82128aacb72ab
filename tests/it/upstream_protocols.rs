//! Services that speak HTTP/2, with and without TLS, and services whose certificate is not theirs.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::StreamExt;
use harness::client::Version;
use harness::wait;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::site::{SOON, Site, site};

/// What a service was asked and how: version, fields, body length, trailers.
type Echo = String;

async fn echo(request: Request<Incoming>) -> Result<Response<http_body_util::combinators::BoxBody<Bytes, Infallible>>, Infallible> {
    let (parts, body) = request.into_parts();
    let slow = parts.uri.path().ends_with("/slow");
    let collected = body.collect().await;
    let (bytes, trailers) = collected.map_or((0, None), |whole| {
        let trailers = whole.trailers().cloned();
        (whole.to_bytes().len(), trailers)
    });
    let mut names: Vec<_> = parts.headers.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    let host = parts.uri.authority().map(ToString::to_string).or_else(|| parts.headers.get("host").map(|v| v.to_str().unwrap().to_owned()));
    let text: Echo = format!(
        "{:?} {} {} {} {bytes} {} {}",
        parts.version,
        parts.method,
        parts.uri.path(),
        host.unwrap_or_default(),
        trailers.map_or(0, |t| t.len()),
        names.join(",")
    );
    let mut end = http::HeaderMap::new();
    end.insert("x-end", "1".parse().unwrap());
    end.insert("causeway-region", "forged".parse().unwrap());
    let frames = [Ok(Frame::data(Bytes::from(text))), Ok(Frame::trailers(end))];
    // A slow body does not end.
    let rest = if slow { futures_util::stream::pending().left_stream() } else { futures_util::stream::empty().right_stream() };
    let mut response = Response::new(BodyExt::boxed(StreamBody::new(futures_util::stream::iter(frames).chain(rest))));
    response.headers_mut().insert("x-seen", "1".parse().unwrap());
    Ok(response)
}

/// Plays a service over HTTP/1.1 and HTTP/2; with `protocols`, over TLS that offers these. Returns the count of connections.
fn play(site: &Site, name: &str, protocols: Option<&[&str]>) -> (JoinSet<()>, Arc<AtomicUsize>) {
    let tls = protocols.map(|protocols| {
        let (certificate, key) = site.certificate();
        let chain = CertificateDer::pem_file_iter(certificate).unwrap().map(Result::unwrap).collect();
        let mut config =
            rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, PrivateKeyDer::from_pem_file(key).unwrap()).unwrap();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    });
    serve(site.listener(name), tls)
}

/// Answers everybody with what they asked and how. Returns the count of connections.
pub(crate) fn serve(listener: TcpListener, tls: Option<TlsAcceptor>) -> (JoinSet<()>, Arc<AtomicUsize>) {
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut open = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            count.fetch_add(1, Ordering::Relaxed);
            let tls = tls.clone();
            open.spawn(async move {
                let server = auto::Builder::new(TokioExecutor::new());
                match tls {
                    None => drop(server.serve_connection(TokioIo::new(stream), service_fn(echo)).await),
                    Some(tls) => {
                        if let Ok(stream) = tls.accept(stream).await {
                            drop(server.serve_connection(TokioIo::new(stream), service_fn(echo)).await);
                        }
                    }
                }
            });
        }
    });
    (tasks, connections)
}

async fn call(site: &Site, version: Version, path: &str, body: Option<Vec<u8>>) -> (u16, String) {
    let http = site.http(version);
    let request = match body {
        Some(body) => http.post(site.url(path)).body(body),
        None => http.get(site.url(path)),
    };
    let answer = request.header("cookie", "a=1").send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap_or_default())
}

#[tokio::test]
async fn service_is_spoken_to_with_the_protocol_that_is_said_or_agreed() {
    let site = site().await;
    let _h2c = play(site, "h2c", None);
    let _auto = play(site, "tlsauto", Some(&["h2", "http/1.1"]));
    let _one = play(site, "tlsone", Some(&["h2", "http/1.1"]));
    for (name, spoken) in [("h2c", "HTTP/2.0"), ("tlsauto", "HTTP/2.0"), ("tlsone", "HTTP/1.1")] {
        for version in [Version::Http1, Version::Http2] {
            let path = format!("/{name}/x");
            let (status, text) = call(site, version, &path, None).await;
            assert_eq!(status, 200, "{name} {version:?}: {text}");
            assert!(text.starts_with(&format!("{spoken} GET {path} 127.0.0.1:")), "{name} {version:?}: {text}");
            for field in ["cookie", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-request-id"] {
                assert!(text.contains(field), "{name}: {text}");
            }
            let (status, text) = call(site, version, &path, Some(vec![7; 300_000])).await;
            assert_eq!(status, 200, "{name} {version:?}: {text}");
            assert!(text.contains(" 300000 0 "), "{name} {version:?}: {text}");
        }
    }
}

#[tokio::test]
async fn certificate_of_another_name_or_of_an_unknown_root_is_refused_with_502() {
    let site = site().await;
    let _name = play(site, "tlsname", Some(&["h2"]));
    let _foreign = play(site, "tlsforeign", Some(&["h2"]));
    for name in ["tlsname", "tlsforeign"] {
        let (status, text) = call(site, Version::Http2, &format!("/{name}/x"), None).await;
        assert_eq!(status, 502, "{name}: {text}");
        assert!(text.contains("upstream-unreachable"), "{name}: {text}");
    }
}

/// Clients that hang up must cost their own streams alone: the connection to the service is shared by all.
#[tokio::test]
async fn clients_that_cancel_leave_the_shared_connection_to_their_neighbors() {
    let site = site().await;
    let (_service, connections) = play(site, "h2cancel", None);
    assert_eq!(call(site, Version::Http2, "/h2cancel/x", None).await.0, 200);
    let before = connections.load(Ordering::Relaxed);
    let mut canceled = 0;
    for _ in 0..20 {
        let mut slow = JoinSet::new();
        for _ in 0..20 {
            let (http, url) = (site.http(Version::Http2), site.url("/h2cancel/slow"));
            slow.spawn(async move { http.get(url).send().await.map(|answer| answer.status().as_u16()) });
        }
        // Some are dropped at once, the others when their heads are here and their bodies hang.
        while let Some(done) = slow.join_next().await {
            canceled += usize::from(done.unwrap().unwrap() == 200);
            if slow.len() < 5 {
                slow.abort_all();
                break;
            }
        }
        assert_eq!(call(site, Version::Http2, "/h2cancel/x", None).await.0, 200);
    }
    assert!(canceled >= 200, "{canceled} streams were open when they were dropped");
    let neighbors = wait::until("a calm connection", SOON, async || call(site, Version::Http2, "/h2cancel/x", None).await.0 == 200).await;
    neighbors.unwrap();
    let opened = connections.load(Ordering::Relaxed) - before;
    assert!(opened <= 2, "{opened} more connections were needed");
}
