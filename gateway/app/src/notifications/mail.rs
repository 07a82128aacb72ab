//! Sends one mail, over TLS and to one receiver.

use std::time::Duration;

use anyhow::{Context, Result};
use lettre::{
    Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    message::{
        Mailbox,
        header::{ContentType, Header, HeaderName, HeaderValue},
    },
    transport::smtp::{
        authentication::Credentials,
        client::{Certificate, CertificateStore, Tls, TlsParameters},
        extension::ClientId,
    },
};
use model::time::UtcMicros;
use tokio::time::timeout;

use super::{letter::Letter, webhook::roots};
use crate::{
    boot,
    config::notifications::{SmtpConfig, SmtpTls},
};

/// For one command of the server.
const COMMAND_WITHIN: Duration = Duration::from_secs(10);
/// For the whole of a mail: well below the minute that a claim lasts.
const WITHIN: Duration = Duration::from_secs(25);

/// Replies that mean this receiver or this mail, for good (RFC 5321 section 4.2.3). Others, of a log-in for instance, mean us.
const FOR_GOOD: [u16; 6] = [501, 550, 551, 552, 553, 554];

/// Why a mail was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refused {
    /// Another try can help.
    ForNow(String),
    /// No other try can.
    ForGood(String),
}

/// Sends mails.
#[derive(Debug)]
pub(super) struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

/// Tells other programs that nobody wrote this and nobody waits for an answer (RFC 3834 section 5).
#[derive(Debug, Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

impl Mailer {
    /// A mailer by the node file; it connects for each mail.
    pub(super) fn new(config: &SmtpConfig) -> Result<Self> {
        let from: Mailbox = config.from.parse().context("`from` is no mail address")?;
        let mut tls = TlsParameters::builder(config.host.clone());
        if let Some(path) = &config.ca {
            roots(path)?;
            let pem = std::fs::read(path).with_context(|| format!("cannot read the roots for mail from {}", path.display()))?;
            let root = Certificate::from_pem(&pem).with_context(|| format!("{} holds no root certificate", path.display()))?;
            tls = tls.certificate_store(CertificateStore::None).add_root_certificate(root);
        }
        let tls = tls.build_rustls().context("no TLS towards the mail server")?;
        let tls = match config.tls {
            SmtpTls::Required => Tls::Wrapper(tls),
            SmtpTls::Starttls => Tls::Required(tls),
        };
        let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&config.host)
            .port(config.port)
            .tls(tls)
            .timeout(Some(COMMAND_WITHIN))
            .hello_name(ClientId::Domain(from.email.domain().to_owned()));
        if let Some((user, password)) = config.user.as_ref().zip(config.password.as_ref()) {
            let password = boot::secret("password of the mail server", password)?;
            transport = transport.credentials(Credentials::new(user.clone(), password.expose_secret().to_owned()));
        }
        Ok(Self { transport: transport.build(), from })
    }

    /// Sends a letter once. `id` makes the message's id, so that a receiver knows a repeat.
    ///
    /// # Cancel
    /// Closes the connection; the server may have taken the mail all the same.
    pub(super) async fn send(&self, id: &str, to: &str, letter: Letter, at: UtcMicros) -> Result<(), Refused> {
        let unfit = || Refused::ForGood("the mail address cannot be written to".to_owned());
        let to: Address = to.parse().map_err(|_| unfit())?;
        let message = self.message(id, to, letter, at).ok_or_else(unfit)?;
        match timeout(WITHIN, self.transport.send(message)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(refusal(&error)),
            Err(_) => Err(Refused::ForNow("the mail server took too long".to_owned())),
        }
    }

    fn message(&self, id: &str, to: Address, letter: Letter, at: UtcMicros) -> Option<Message> {
        let seconds = Duration::from_micros(u64::try_from(at.0).ok()?);
        let builder = Message::builder()
            .message_id(Some(format!("<{id}@{}>", self.from.email.domain())))
            .date(std::time::UNIX_EPOCH + seconds)
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(letter.subject)
            .header(AutoSubmitted)
            .header(ContentType::TEXT_PLAIN);
        builder.body(letter.text).ok()
    }
}

/// What a failure means. The server's own words stay out, of the log too: they may hold addresses.
fn refusal(error: &lettre::transport::smtp::Error) -> Refused {
    let code = error.status().map(u16::from);
    if code.is_none() {
        tracing::debug!(error = error as &dyn std::error::Error, "no mail could be handed over");
    }
    match code {
        Some(code) if FOR_GOOD.contains(&code) => Refused::ForGood(format!("the mail server answered {code}")),
        Some(code) => Refused::ForNow(format!("the mail server answered {code}")),
        None if error.is_timeout() => Refused::ForNow("the mail server took too long".to_owned()),
        None if error.is_tls() => Refused::ForNow("no TLS with the mail server".to_owned()),
        None => Refused::ForNow("no connection to the mail server, or it broke off".to_owned()),
    }
}

#[cfg(test)]
mod tests;
