//! A mail server (RFC 5321), with TLS from the start or after `STARTTLS`, that keeps what it takes and can be a bad one.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result, bail, ensure};
use data_encoding::BASE64;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::listening::accept_each;

/// Who may log in.
pub const USER: &str = "causeway";
/// Their password.
pub const PASSWORD: &str = "the mail server's own password";

/// When TLS begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// With the connection.
    Implicit,
    /// When the client asks for it.
    StartTls,
    /// Never: it is not offered.
    Never,
}

/// A point of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// When the client logs in.
    LogIn,
    /// When it names a receiver.
    Receiver,
    /// When it has sent the mail.
    Content,
}

/// How the server behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// It takes mails.
    Well,
    /// It answers with this code.
    Refuse(Stage, u16),
    /// It closes the connection.
    HangUp(Stage),
    /// It says nothing any more.
    Silent(Stage),
}

/// A mail that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// The sender's address of the envelope.
    pub from: String,
    /// The receivers' addresses of the envelope.
    pub to: Vec<String>,
    /// Head and body, with `\n` at the ends of lines.
    pub text: String,
}

impl Mail {
    /// The value of a field, on one line.
    pub fn field(&self, name: &str) -> Option<String> {
        let (head, _) = self.text.split_once("\n\n")?;
        let unfolded = head.replace("\n ", " ").replace("\n\t", " ");
        unfolded.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(": ")?.to_owned()))
    }

    /// The body, as its coding stands for.
    ///
    /// # Errors
    /// When there is none, or the coding is another than those that are known here.
    pub fn body(&self) -> Result<String> {
        let (_, body) = self.text.split_once("\n\n").context("a mail without a body")?;
        match self.field("Content-Transfer-Encoding").as_deref() {
            None | Some("7bit" | "8bit") => Ok(body.to_owned()),
            Some("base64") => Ok(String::from_utf8(BASE64.decode(body.replace('\n', "").as_bytes())?)?),
            Some("quoted-printable") => quoted_printable(body),
            Some(other) => bail!("the coding {other}"),
        }
    }
}

/// RFC 2045 section 6.7.
fn quoted_printable(text: &str) -> Result<String> {
    let (joined, mut bytes) = (text.replace("=\n", ""), Vec::new());
    let mut rest = joined.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first == b'=' {
            let (digits, after) = rest.split_at_checked(2).context("half a character")?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits)?, 16)?);
            rest = after;
        } else {
            bytes.push(*first);
        }
    }
    Ok(String::from_utf8(bytes)?)
}

/// The server.
#[derive(Debug)]
pub struct MailServer {
    shared: Arc<Shared>,
    port: u16,
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    manner: Mutex<Manner>,
    mails: Mutex<Vec<Mail>>,
    /// Everything that came outside of TLS.
    clear: Mutex<String>,
    conversations: Mutex<u64>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MailServer {
    /// Starts it on a port of its own.
    ///
    /// # Errors
    /// When the files cannot be read, or there is no port.
    pub async fn start(certificate: &Path, key: &Path, security: Security) -> Result<Self> {
        let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<Vec<_>, _>>()?;
        let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
        let tls = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let shared =
            Arc::new(Shared { manner: Mutex::new(Manner::Well), mails: Mutex::default(), clear: Mutex::default(), conversations: Mutex::default() });
        let served = Arc::clone(&shared);
        let tasks = accept_each(listener, move |stream| {
            let (tls, shared) = (tls.clone(), Arc::clone(&served));
            async move { serve(stream, &tls, security, &shared).await.unwrap_or_default() }
        });
        Ok(Self { shared, port, _tasks: tasks })
    }

    /// Where it listens, on `127.0.0.1`.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Behaves otherwise from now on.
    pub fn behave(&self, manner: Manner) {
        *locked(&self.shared.manner) = manner;
    }

    /// What it has taken, oldest first.
    pub fn mails(&self) -> Vec<Mail> {
        locked(&self.shared.mails).clone()
    }

    /// What was said to it outside of TLS.
    pub fn in_clear(&self) -> String {
        locked(&self.shared.clear).clone()
    }

    /// How often somebody has begun to talk to it.
    pub fn conversations(&self) -> u64 {
        *locked(&self.shared.conversations)
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

async fn serve(stream: TcpStream, tls: &TlsAcceptor, security: Security, shared: &Shared) -> Result<()> {
    *locked(&shared.conversations) += 1;
    let stream: Box<dyn Stream> = match security {
        Security::Implicit => Box::new(tls.accept(stream).await?),
        Security::StartTls | Security::Never => match in_clear(stream, security, shared).await? {
            Some(stream) => Box::new(tls.accept(stream).await?),
            None => return Ok(()),
        },
    };
    Talk { stream, shared, is_known: false }.run(security).await
}

/// Talks until the client asks for TLS: no mail is taken before.
async fn in_clear(mut stream: TcpStream, security: Security, shared: &Shared) -> Result<Option<TcpStream>> {
    stream.write_all(b"220 mail.test ready\r\n").await?;
    loop {
        let Some(said) = line(&mut stream).await? else { return Ok(None) };
        {
            let mut clear = locked(&shared.clear);
            clear.push_str(&said);
            clear.push('\n');
        }
        match said.split(' ').next().unwrap_or_default().to_ascii_uppercase().as_str() {
            "EHLO" if security == Security::StartTls => stream.write_all(b"250-mail.test\r\n250 STARTTLS\r\n").await?,
            "EHLO" => stream.write_all(b"250-mail.test\r\n250 AUTH PLAIN\r\n").await?,
            "STARTTLS" if security == Security::StartTls => {
                stream.write_all(b"220 go ahead\r\n").await?;
                return Ok(Some(stream));
            }
            "QUIT" => return Ok(None),
            _ => stream.write_all(b"530 TLS first\r\n").await?,
        }
    }
}

/// A line without its end; `None` at the end of the connection.
async fn line(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<String>> {
    let mut bytes = Vec::new();
    loop {
        let mut byte = [0];
        if stream.read(&mut byte).await? == 0 {
            return Ok(None);
        }
        bytes.extend_from_slice(&byte);
        ensure!(bytes.len() < 16_384, "an endless line");
        if bytes.ends_with(b"\r\n") {
            bytes.truncate(bytes.len() - 2);
            return Ok(Some(String::from_utf8(bytes)?));
        }
    }
}

struct Talk<'a> {
    stream: Box<dyn Stream>,
    shared: &'a Shared,
    is_known: bool,
}

impl Talk<'_> {
    async fn say(&mut self, text: &str) -> Result<()> {
        self.stream.write_all(format!("{text}\r\n").as_bytes()).await?;
        Ok(self.stream.flush().await?)
    }

    /// Says it, unless the server is a bad one at this stage.
    async fn answer(&mut self, stage: Stage, text: &str) -> Result<bool> {
        let manner = *locked(&self.shared.manner);
        match manner {
            Manner::Refuse(at, code) if at == stage => self.say(&format!("{code} not that")).await.map(|()| false),
            Manner::HangUp(at) if at == stage => bail!("hung up"),
            Manner::Silent(at) if at == stage => std::future::pending().await,
            Manner::Well | Manner::Refuse(..) | Manner::HangUp(_) | Manner::Silent(_) => self.say(text).await.map(|()| true),
        }
    }

    async fn run(mut self, security: Security) -> Result<()> {
        if security == Security::Implicit {
            self.say("220 mail.test ready").await?;
        }
        let (mut from, mut to) = (String::new(), Vec::new());
        loop {
            let Some(said) = line(&mut self.stream).await? else { return Ok(()) };
            let address = || said.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map(|(address, _)| address.to_owned());
            match said.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase().as_str() {
                "EHLO" => self.say("250-mail.test\r\n250-8BITMIME\r\n250 AUTH PLAIN").await?,
                "AUTH" => {
                    let wanted = format!("AUTH PLAIN {}", BASE64.encode(format!("\0{USER}\0{PASSWORD}").as_bytes()));
                    if said == wanted {
                        self.is_known = self.answer(Stage::LogIn, "235 welcome").await?;
                    } else {
                        self.say("535 who?").await?;
                    }
                }
                _ if !self.is_known && said != "QUIT" => self.say("530 log in first").await?,
                "MAIL" => {
                    from = address().context("no sender")?;
                    self.say("250 ok").await?;
                }
                "RCPT" => {
                    if self.answer(Stage::Receiver, "250 ok").await? {
                        to.push(address().context("no receiver")?);
                    }
                }
                "DATA" => {
                    self.say("354 go on").await?;
                    let text = self.content().await?;
                    if self.answer(Stage::Content, "250 taken").await? {
                        let mail = Mail { from: std::mem::take(&mut from), to: std::mem::take(&mut to), text };
                        locked(&self.shared.mails).push(mail);
                    }
                }
                "RSET" | "NOOP" => self.say("250 ok").await?,
                "QUIT" => return self.say("221 bye").await,
                _ => self.say("502 what?").await?,
            }
        }
    }

    /// Until the lonely dot, without the dots that were put before others.
    async fn content(&mut self) -> Result<String> {
        let mut text = String::new();
        loop {
            let next = line(&mut self.stream).await?.context("the mail broke off")?;
            if next == "." {
                return Ok(text);
            }
            text.push_str(next.strip_prefix('.').unwrap_or(&next));
            text.push('\n');
        }
    }
}
