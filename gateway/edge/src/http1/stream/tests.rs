use std::{sync::Arc, time::Duration};

use http_body_util::BodyExt;
use rcgen::{CertificateParams, KeyPair};
use rustls::{ClientConfig, RootCertStore, ServerConfig, pki_types::PrivateKeyDer};
use tokio::{io::AsyncWriteExt, net::TcpListener};
use tokio_rustls::{TlsAcceptor, TlsConnector, server};

use super::*;
use crate::{
    body::RequestBody,
    http1::{Answer, Ask, Link},
};

const WITHIN: Duration = Duration::from_secs(10);

/// A link over TLS, and the service's end of it.
async fn pair() -> (Link, server::TlsStream<TcpStream>) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["service.test".to_owned()]).unwrap().self_signed(&key).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let server = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = async {
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        TlsConnector::from(Arc::new(client)).connect("service.test".try_into().unwrap(), Ahead::new(stream)).await.unwrap()
    };
    let far = async { TlsAcceptor::from(Arc::new(server)).accept(listener.accept().await.unwrap().0).await.unwrap() };
    let (near, far) = tokio::join!(near, far);
    (Link::new(Stream::Tls(Box::new(near)), 0), far)
}

/// Whether a link could be used again after this response, with these bytes behind it.
async fn is_usable_after(length: usize, behind: &str) -> bool {
    let (link, mut service) = pair().await;
    let text = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{}{behind}", "x".repeat(length));
    let says = async {
        service.write_all(text.as_bytes()).await.unwrap();
        service.flush().await.unwrap();
    };
    let ask = Ask { head: b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(), body: RequestBody::Empty, is_head: false, may_switch: false };
    let reads = async {
        let Answer { mut body, .. } = link.exchange(ask).await.unwrap();
        let mut got = 0;
        while let Some(frame) = body.frame().await {
            got += frame.unwrap().into_data().unwrap().len();
        }
        assert_eq!(got, length);
        body.into_link()
    };
    let (link, ()) = tokio::time::timeout(WITHIN, async { tokio::join!(reads, says) }).await.unwrap();
    link.is_some_and(|mut link| !link.is_stale())
}

/// Bytes behind a response can wait in three places: with the link, with the TLS layer, and in the kernel.
#[tokio::test]
async fn link_with_bytes_behind_a_response_is_not_used_again_wherever_they_wait() {
    let unasked = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
    for length in (0..60).map(|step| step * 997).chain([4_096, 8_192, 16_384, 65_536]) {
        assert!(!is_usable_after(length, unasked).await, "{length} bytes, and an answer that nobody asked for");
    }
    for length in [0, 1, 4_096, 16_384, 100_000] {
        assert!(is_usable_after(length, "").await, "{length} bytes, and nothing behind them");
    }
}
