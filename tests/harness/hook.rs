//! A receiver of webhooks over HTTPS: it keeps what comes, checks signatures by itself, and can be a bad one.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result, ensure};
use aws_lc_rs::hmac;
use data_encoding::BASE64;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::listening::accept_each;

/// How the receiver answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// With this status.
    Status(u16),
    /// With a place elsewhere on the same receiver.
    Redirect,
    /// Never.
    Silent,
    /// With 200 and a body without an end.
    Endless,
}

/// What came in one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The path with its query.
    pub path: String,
    /// The fields, their names in lower case.
    pub fields: BTreeMap<String, String>,
    /// The body.
    pub body: String,
}

impl Call {
    /// The id of the delivery.
    pub fn id(&self) -> &str {
        self.fields.get("webhook-id").map_or("", String::as_str)
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// When it is none.
    pub fn json(&self) -> Result<serde_json::Value> {
        Ok(serde_json::from_str(&self.body)?)
    }

    /// Whether this secret has signed exactly this id, instant and body, as a receiver checks it.
    ///
    /// # Errors
    /// When the secret or a field has another form than Standard Webhooks says.
    pub fn is_signed_by(&self, secret: &str) -> Result<bool> {
        let field = |name: &str| self.fields.get(name).with_context(|| format!("no {name}"));
        let key = BASE64.decode(secret.strip_prefix("whsec_").context("no whsec_")?.as_bytes())?;
        let signed = format!("{}.{}.{}", field("webhook-id")?, field("webhook-timestamp")?, self.body);
        let given = field("webhook-signature")?.strip_prefix("v1,").context("another version")?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        Ok(hmac::verify(&key, signed.as_bytes(), &BASE64.decode(given.as_bytes())?).is_ok())
    }
}

/// The receiver.
#[derive(Debug)]
pub struct Receiver {
    shared: Arc<Shared>,
    port: u16,
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    manner: Mutex<Manner>,
    calls: Mutex<Vec<Call>>,
    connections: Mutex<u64>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Receiver {
    /// Starts it on a port of its own.
    ///
    /// # Errors
    /// When the files cannot be read, or there is no port.
    pub async fn start(certificate: &Path, key: &Path) -> Result<Self> {
        let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<Vec<_>, _>>()?;
        let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
        let tls = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared { manner: Mutex::new(Manner::Status(200)), calls: Mutex::default(), connections: Mutex::default() });
        let served = Arc::clone(&shared);
        let tasks = accept_each(listener, move |stream| {
            *locked(&served.connections) += 1;
            let (tls, shared) = (tls.clone(), Arc::clone(&served));
            async move { serve(stream, &tls, &shared).await.unwrap_or_default() }
        });
        Ok(Self { shared, port, _tasks: tasks })
    }

    /// An address of it under this name, with a query.
    pub fn url(&self, host: &str) -> String {
        format!("https://{host}:{}/hooks?team=1", self.port)
    }

    /// Answers otherwise from now on.
    pub fn behave(&self, manner: Manner) {
        *locked(&self.shared.manner) = manner;
    }

    /// What came, oldest first.
    pub fn calls(&self) -> Vec<Call> {
        locked(&self.shared.calls).clone()
    }

    /// How often somebody has connected.
    pub fn connections(&self) -> u64 {
        *locked(&self.shared.connections)
    }
}

/// Serves one request on a connection.
async fn serve(stream: TcpStream, tls: &TlsAcceptor, shared: &Shared) -> Result<()> {
    let mut stream = tls.accept(stream).await?;
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|end| end == b"\r\n\r\n") {
            break end;
        }
        ensure!(stream.read_buf(&mut bytes).await? > 0 && bytes.len() < 16_384, "no head");
    };
    let head = String::from_utf8(bytes.get(..end).unwrap_or_default().to_vec())?;
    let mut lines = head.split("\r\n");
    let request = lines.next().unwrap_or_default().to_owned();
    let fields: BTreeMap<_, _> =
        lines.filter_map(|line| line.split_once(": ")).map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    let length: usize = fields.get("content-length").context("no length")?.parse()?;
    while bytes.len() < end + 4 + length {
        ensure!(stream.read_buf(&mut bytes).await? > 0, "the body broke off");
    }
    let body = String::from_utf8(bytes.split_off(end + 4))?;
    ensure!(request.starts_with("POST "), "{request}");
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    locked(&shared.calls).push(Call { path, fields, body });
    let manner = *locked(&shared.manner);
    match manner {
        Manner::Status(status) => stream.write_all(format!("HTTP/1.1 {status} Said\r\ncontent-length: 0\r\n\r\n").as_bytes()).await?,
        Manner::Redirect => stream.write_all(b"HTTP/1.1 307 Elsewhere\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n").await?,
        Manner::Silent => std::future::pending().await,
        Manner::Endless => {
            stream.write_all(b"HTTP/1.1 200 Said\r\ntransfer-encoding: chunked\r\n\r\n").await?;
            loop {
                stream.write_all(format!("1000\r\n{}\r\n", " ".repeat(4_096)).as_bytes()).await?;
            }
        }
    }
    stream.shutdown().await?;
    Ok(())
}
