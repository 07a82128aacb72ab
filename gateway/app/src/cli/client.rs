//! A small HTTPS client for the control listener: one connection a call, one deadline, and problem documents as errors.

use std::{
    borrow::Cow,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail};
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use model::{key::Purpose, secret::SecretText};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::Url;

use super::output::clean;

/// How long an ordinary call may take, from the look-up of the name to the last byte.
const DEADLINE: Duration = Duration::from_secs(10);

/// How long a document may take: it is compiled and written before the answer.
const DOCUMENT_DEADLINE: Duration = Duration::from_mins(2);

/// The largest answer that is read, in bytes: a page of 200 records has well under one MiB.
const ANSWER_BYTES_MAX: usize = 32 << 20;

/// Where Debian and its like keep the certificates of public authorities.
const SYSTEM_CA_FILE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// What people do under `/v1/my` as operators do under `/v1`.
const PERSONAL: [&str; 3] = ["keys", "applications", "usage"];

const TOKEN_HELP: &str = "The operator token, or a personal one. On the command line every user of this machine can see it in the process \
    list: rather set CAUSEWAY_TOKEN, or use --token-file";

/// How the control plane is reached.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Control plane")]
pub(crate) struct Connection {
    /// The control listener, https://host:port.
    #[arg(long, value_name = "URL", env = "CAUSEWAY_CONTROL")]
    control: Option<Url>,
    /// The operator token.
    #[arg(long, value_name = "TOKEN", help = TOKEN_HELP, env = "CAUSEWAY_TOKEN", hide_env_values = true, value_parser = secret)]
    token: Option<SecretText>,
    /// A file that holds the operator token; it goes before the other two ways.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The certificates (PEM) of the authority that signed the control listener's; the system's when absent.
    #[arg(long, value_name = "FILE", env = "CAUSEWAY_CA")]
    ca: Option<PathBuf>,
}

#[expect(clippy::unnecessary_wraps, reason = "the signature that clap asks for")]
fn secret(text: &str) -> Result<SecretText, std::convert::Infallible> {
    Ok(SecretText::new(text.to_owned()))
}

/// A refusal of the control plane: a problem document (RFC 9457), or an answer that should have been one.
#[derive(Debug)]
pub(crate) struct Problem {
    document: Value,
}

impl Problem {
    /// The document as it came.
    pub(crate) const fn document(&self) -> &Value {
        &self.document
    }

    /// The stable code of the problem.
    pub(crate) fn code(&self) -> &str {
        self.document.get("code").and_then(Value::as_str).unwrap_or_default()
    }

    /// What exactly is wrong.
    pub(crate) fn errors(&self) -> &[Value] {
        self.document.get("errors").and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    fn member(&self, name: &str) -> String {
        match self.document.get(name) {
            Some(Value::String(text)) => clean(text),
            Some(other) => other.to_string(),
            None => "?".to_owned(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} {})", self.member("detail"), self.member("status"), self.member("code"))?;
        for error in self.errors() {
            let place = ["path", "pointer", "name"].iter().find_map(|name| error.get(name)?.as_str());
            let message = error.get("message").and_then(Value::as_str).unwrap_or_default();
            write!(f, "\n  {}: {}", clean(place.filter(|place| !place.is_empty()).unwrap_or("body")), clean(message))?;
            if let Some(help) = error.get("help").and_then(Value::as_str) {
                write!(f, "; {}", clean(help))?;
            }
        }
        write!(f, "\n  request {} in region {}", self.member("request_id"), self.member("region"))
    }
}

impl std::error::Error for Problem {}

/// What is sent.
#[derive(Debug)]
struct Sending<'c> {
    method: Method,
    body: Option<Bytes>,
    idempotency_key: Option<&'c str>,
}

impl Sending<'_> {
    const fn of(method: Method, body: Option<Bytes>) -> Self {
        Self { method, body, idempotency_key: None }
    }
}

/// A text as one segment of a path (RFC 3986 section 3.3): it names what it says, and nothing else.
pub(crate) fn segment(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

/// A client for one control listener.
#[derive(Debug)]
pub(crate) struct Client {
    base: Url,
    token: SecretText,
    tls: Arc<ClientConfig>,
}

impl Client {
    /// Prepares; nothing is sent yet.
    ///
    /// # Errors
    /// When the URL, the token or the certificates are missing or cannot be read; each says what to set.
    pub(crate) fn new(connection: &Connection) -> anyhow::Result<Self> {
        let base = connection.control.clone().context("say where the control plane is: --control URL or CAUSEWAY_CONTROL")?;
        if base.scheme() != "https" {
            bail!("the control plane speaks TLS only: write https:// instead of {}://", base.scheme());
        }
        let token = match (&connection.token_file, &connection.token) {
            (Some(file), _) => {
                let text = std::fs::read_to_string(file).with_context(|| format!("cannot read the token file {}", file.display()))?;
                SecretText::new(text.trim().to_owned())
            }
            (None, Some(token)) => token.clone(),
            (None, None) => bail!("an operator token is needed: set CAUSEWAY_TOKEN, or use --token-file FILE"),
        };
        Ok(Self { base, token, tls: Arc::new(tls_config(connection.ca.as_deref())?) })
    }

    /// Reads a resource.
    ///
    /// # Errors
    /// A [`Problem`] when it was refused; else what stood in the way.
    pub(crate) async fn get(&self, path: &str, query: &[(&str, String)]) -> anyhow::Result<Value> {
        self.call(path, query, Sending::of(Method::GET, None), DEADLINE).await
    }

    /// Sends a small body.
    ///
    /// # Errors
    /// As for [`Self::get`].
    pub(crate) async fn post(&self, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        self.call(path, &[], Sending::of(Method::POST, body.map(|body| body.to_string().into())), DEADLINE).await
    }

    /// Sends what makes a resource; with a key, the same call again makes no second one.
    ///
    /// # Errors
    /// As for [`Self::get`].
    pub(crate) async fn create(&self, path: &str, body: &Value, idempotency_key: Option<&str>) -> anyhow::Result<Value> {
        let sending = Sending { idempotency_key, ..Sending::of(Method::POST, Some(body.to_string().into())) };
        self.call(path, &[], sending, DEADLINE).await
    }

    /// Changes a resource.
    ///
    /// # Errors
    /// As for [`Self::get`].
    pub(crate) async fn patch(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.call(path, &[], Sending::of(Method::PATCH, Some(body.to_string().into())), DEADLINE).await
    }

    /// Removes a resource.
    ///
    /// # Errors
    /// As for [`Self::get`].
    pub(crate) async fn delete(&self, path: &str) -> anyhow::Result<Value> {
        self.call(path, &[], Sending::of(Method::DELETE, None), DEADLINE).await
    }

    /// Sends a document.
    ///
    /// # Errors
    /// As for [`Self::get`].
    pub(crate) async fn post_document(&self, path: &str, query: &[(&str, String)], body: Vec<u8>) -> anyhow::Result<Value> {
        self.call(path, query, Sending::of(Method::POST, Some(body.into())), DOCUMENT_DEADLINE).await
    }

    /// Where a path lies for this token: what operators do under `/v1`, people do for their teams under `/v1/my`.
    fn own<'p>(&self, path: &'p str) -> anyhow::Result<Cow<'p, str>> {
        if !self.token.expose_secret().starts_with(Purpose::Personal.prefix()) || path == "/v1/my" || path.starts_with("/v1/my/") {
            return Ok(path.into());
        }
        let rest = path.strip_prefix("/v1/").filter(|rest| PERSONAL.contains(&rest.split('/').next().unwrap_or_default()));
        let rest = rest.context("this takes an operator token, and yours is a personal one (cw_my_...)")?;
        Ok(format!("/v1/my/{rest}").into())
    }

    async fn call(&self, path: &str, query: &[(&str, String)], sending: Sending<'_>, deadline: Duration) -> anyhow::Result<Value> {
        let path = self.own(path)?;
        let mut url = self.base.join(&path).context("the control URL cannot hold this path")?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let exchange = self.exchange(&url, sending);
        let authority = self.base.authority().to_owned();
        match tokio::time::timeout(deadline, exchange).await {
            Ok(answer) => answer.with_context(|| format!("the control plane at {authority} did not do it")).or_else(unwrap_problem),
            Err(_) => Err(anyhow!("the control plane at {authority} did not answer within {} s", deadline.as_secs())),
        }
    }

    async fn exchange(&self, url: &Url, sending: Sending<'_>) -> anyhow::Result<Value> {
        let host = url.host_str().context("the control URL has no host")?;
        let port = url.port_or_known_default().unwrap_or(443);
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).with_context(|| format!("`{host}` is no host name"))?;
        let stream = TcpStream::connect((host.trim_matches(['[', ']']), port)).await.context("cannot connect")?;
        let stream = TlsConnector::from(Arc::clone(&self.tls))
            .connect(name, stream)
            .await
            .context("the TLS handshake failed; when the authority is not known here, name its certificate with --ca FILE or CAUSEWAY_CA")?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.context("cannot speak HTTP")?;
        let request = self.request(url, sending)?;
        let exchange = async {
            let (parts, body) = sender.send_request(request).await.context("the request was not answered")?.into_parts();
            let bytes = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|error| anyhow!(error).context("the answer broke off"))?;
            anyhow::Ok((parts.status, bytes.to_bytes()))
        };
        // The connection may end before its last answer is read; then only the exchange goes on.
        let drive = async {
            let ended = connection.await;
            tracing::debug!(?ended, "the connection to the control plane ended");
            std::future::pending::<std::convert::Infallible>().await
        };
        let (status, bytes) = tokio::select! {
            answer = exchange => answer?,
            never = drive => match never {},
        };
        read_answer(status, &bytes)
    }

    fn request(&self, url: &Url, sending: Sending<'_>) -> anyhow::Result<Request<Full<Bytes>>> {
        let Sending { method, body, idempotency_key } = sending;
        let target = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let mut token = http::HeaderValue::from_str(&format!("Bearer {}", self.token.expose_secret()))
            .map_err(|_| anyhow!("the operator token holds characters that no token has"))?;
        token.set_sensitive(true);
        let mut request = Request::builder()
            .method(method)
            .uri(target)
            .header(header::HOST, url.authority())
            .header(header::USER_AGENT, concat!("causeway/", env!("CARGO_PKG_VERSION")))
            .header(header::ACCEPT, "application/json")
            .header(header::AUTHORIZATION, token);
        if let Some(key) = idempotency_key {
            request = request.header("idempotency-key", key);
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        Ok(request.body(Full::new(body.unwrap_or_default()))?)
    }
}

/// A refusal says all there is to say; the line about the connection would only stand in the way.
fn unwrap_problem(error: anyhow::Error) -> anyhow::Result<Value> {
    match error.downcast::<Problem>() {
        Ok(problem) => Err(problem.into()),
        Err(error) => Err(error),
    }
}

fn read_answer(status: StatusCode, bytes: &[u8]) -> anyhow::Result<Value> {
    let value: Option<Value> = serde_json::from_slice(bytes).ok();
    match value {
        Some(value) if status.is_success() => Ok(value),
        Some(document @ Value::Object(_)) if document.get("code").is_some() => Err(Problem { document }.into()),
        _ => bail!("the answer ({status}) is not one of Causeway's control plane: is the URL that of a control listener?"),
    }
}

/// Trusts the CA of a file, else the system's.
///
/// # Errors
/// When the file holds no certificate.
pub(crate) fn tls_config(ca: Option<&Path>) -> anyhow::Result<ClientConfig> {
    let file = ca.unwrap_or(Path::new(SYSTEM_CA_FILE));
    let unreadable = || format!("cannot read certificates from {}: name them with --ca FILE or CAUSEWAY_CA", file.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).with_context(unreadable)? {
        // The system's file may hold one that is too old to be read; only a file without any is an error.
        let (_, _) = roots.add_parsable_certificates([certificate.with_context(unreadable)?]);
    }
    if roots.is_empty() {
        bail!("there is no certificate in {}", file.display());
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests;
