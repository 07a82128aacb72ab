//! Asks a server outside, by the rules of key sets: over https alone, at a public address unless another is allowed, without following
//! anybody anywhere else.

use std::{fmt, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, StatusCode, header};
use rustls::{ClientConfig, pki_types::CertificateDer};
use tokio::time::timeout;
use url::Url;

use crate::outside::{self, Addresses};

/// How a server outside is reached.
#[derive(Debug, Clone)]
pub struct Outside {
    tls: Arc<ClientConfig>,
    addresses: Addresses,
}

/// A form that is sent, and who sends it.
pub struct Form {
    /// The body.
    pub body: String,
    /// The value of `Authorization`.
    pub authorization: HeaderValue,
}

/// Forms hold codes and secrets.
impl fmt::Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Form(..)")
    }
}

/// Why there is no answer. No part of a request or of an answer stands in it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct AskFault(Box<str>);

impl AskFault {
    fn of(error: impl fmt::Display) -> Self {
        Self(error.to_string().into())
    }
}

impl Outside {
    /// With these roots, or the system's.
    ///
    /// # Errors
    /// When there are no roots that can be used.
    pub fn new(ca: Option<&[CertificateDer<'static>]>, allows_private: bool) -> Result<Self, AskFault> {
        let tls = outside::tls(ca).map_err(AskFault::of)?;
        Ok(Self { tls, addresses: if allows_private { Addresses::Any } else { Addresses::PublicAlone } })
    }

    /// Asks for a text, or sends a form and takes the text of the answer.
    ///
    /// # Errors
    /// [`AskFault`], also for every answer that is not 200, longer than `bytes_max` or late.
    ///
    /// # Cancel
    /// Closes the connection; the server may have acted all the same.
    pub async fn ask(&self, url: &Url, form: Option<Form>, bytes_max: usize, within: Duration) -> Result<String, AskFault> {
        timeout(within, self.asked(url, form, bytes_max)).await.map_err(|_| AskFault("it took too long".into()))?
    }

    async fn asked(&self, url: &Url, form: Option<Form>, bytes_max: usize) -> Result<String, AskFault> {
        if url.scheme() != "https" {
            return Err(AskFault("its address is not one of https".into()));
        }
        let mut fields = HeaderMap::new();
        fields.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        let mut sent = None;
        if let Some(Form { body, mut authorization }) = form {
            authorization.set_sensitive(true);
            fields.insert(header::AUTHORIZATION, authorization);
            fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
            sent = Some(body.into());
        }
        let question = outside::Question { url, addresses: self.addresses, body: sent, fields };
        let answer = outside::send(question, &self.tls).await.map_err(AskFault::of)?;
        if answer.status() != StatusCode::OK {
            return Err(AskFault(format!("the answer is {} and not 200; redirects are not followed", answer.status()).into()));
        }
        let body = answer.body(bytes_max).await.map_err(AskFault::of)?;
        String::from_utf8(body.into()).map_err(|_| AskFault("the answer is no text".into()))
    }
}
