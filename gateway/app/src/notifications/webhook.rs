//! Sends one webhook: over https, within five seconds, without following anybody anywhere else.

use std::{
    path::Path,
    sync::{Arc, OnceLock},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use edge::outside::{self, Addresses, Question};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use model::webhook::Receiver;
use rustls::ClientConfig;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use tokio::time::timeout;

/// The whole of a delivery, from the look-up of a name to the head of the answer.
const WITHIN: Duration = Duration::from_secs(5);

/// What a receiver said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// It took it.
    Taken,
    /// It wants nothing any more.
    Gone,
    /// Anything else, in words that the team may read.
    Not(String),
}

/// Sends webhooks.
#[derive(Debug)]
pub(super) struct Webhooks {
    addresses: Addresses,
    ca: Option<Vec<CertificateDer<'static>>>,
    /// Made at the first delivery: the system's roots are some hundred certificates.
    tls: OnceLock<Result<Arc<ClientConfig>, String>>,
}

impl Webhooks {
    /// A sender that trusts these roots, or the system's.
    pub(super) fn new(ca: Option<&Path>, addresses: Addresses) -> Result<Self> {
        let webhooks = Self { addresses, ca: ca.map(roots).transpose()?, tls: OnceLock::new() };
        if webhooks.ca.is_some() {
            // A file of ours that cannot be used is found at the start.
            webhooks.trust().map_err(anyhow::Error::msg)?;
        }
        Ok(webhooks)
    }

    fn trust(&self) -> Result<Arc<ClientConfig>, String> {
        self.tls.get_or_init(|| outside::tls(self.ca.as_deref())).clone()
    }

    /// Sends a body once.
    ///
    /// # Cancel
    /// Closes the connection; the receiver may have taken it all the same.
    pub(super) async fn send(&self, receiver: &Receiver, id: &str, seconds: i64, body: Bytes) -> Answer {
        match timeout(WITHIN, self.exchange(receiver, id, seconds, body)).await {
            Ok(Ok(StatusCode::GONE)) => Answer::Gone,
            Ok(Ok(status)) if status.is_success() => Answer::Taken,
            Ok(Ok(status)) if status.is_redirection() => {
                Answer::Not(format!("the receiver answered {}: redirects are not followed", status.as_u16()))
            }
            Ok(Ok(status)) => Answer::Not(format!("the receiver answered {}", status.as_u16())),
            Ok(Err(fault)) => Answer::Not(fault.to_owned()),
            Err(_) => Answer::Not("the receiver took longer than five seconds".to_owned()),
        }
    }

    async fn exchange(&self, receiver: &Receiver, id: &str, seconds: i64, body: Bytes) -> Result<StatusCode, &'static str> {
        let tls = self.trust().map_err(|error| {
            tracing::error!(error, "no webhook can be sent");
            "the node has no roots to check a receiver by"
        })?;
        let fields = fields(receiver, id, seconds, &body).ok_or("the address cannot be asked for")?;
        let question = Question { url: &receiver.url, addresses: self.addresses, body: Some(body), fields };
        // The body of the answer is not read at all.
        Ok(outside::send(question, &tls).await.map_err(|fault| words(&fault))?.status())
    }
}

/// Certificates of a file, at least one: a file of none would trust nobody, in silence.
pub(super) fn roots(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let roots = read.with_context(|| format!("cannot read roots from {}", path.display()))?;
    if roots.is_empty() {
        bail!("{} holds no certificate", path.display());
    }
    Ok(roots)
}

fn fields(receiver: &Receiver, id: &str, seconds: i64, body: &[u8]) -> Option<HeaderMap> {
    let signature = receiver.secret.signature(id, seconds, body);
    let mut fields = HeaderMap::new();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    fields.insert(header::CONNECTION, HeaderValue::from_static("close"));
    fields.insert("webhook-id", HeaderValue::from_str(id).ok()?);
    fields.insert("webhook-timestamp", HeaderValue::from(seconds));
    fields.insert("webhook-signature", HeaderValue::from_str(&signature).ok()?);
    Some(fields)
}

/// What the team is told: nothing about what the node sees around itself.
const fn words(fault: &outside::Fault) -> &'static str {
    match fault {
        outside::Fault::Place => "the address cannot be asked for",
        outside::Fault::Name(_) => "the name in the address cannot be looked up",
        outside::Fault::NotPublic => "the address is not a public one",
        outside::Fault::Connect(_) => "no connection over TLS to the receiver",
        outside::Fault::Http(_) | outside::Fault::Body(_) => "the answer is not valid HTTP, or broke off",
    }
}
