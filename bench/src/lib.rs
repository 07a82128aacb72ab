//! What the load generators share: arguments, the TLS client, one HTTP/1.1 exchange, and quantiles.

pub mod h2c;

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CipherSuite, ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

/// Whatever ends a tool; it is printed once, by `main`.
pub type Failure = Box<dyn Error + Send + Sync>;

/// Longest response head that a generator reads, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Command line of a generator: `--name value` pairs, `--header` may repeat.
#[derive(Debug, Clone)]
pub struct Options {
    /// Port of the target on 127.0.0.1.
    pub port: u16,
    /// Connections that are busy at the same time, one thread each.
    pub connections: u32,
    /// Length of the run in seconds.
    pub seconds: f64,
    /// Requests per second over all connections; only `paced` uses it.
    pub rate: f64,
    /// Time at the start that is not counted, in seconds.
    pub warmup_seconds: f64,
    /// Request path.
    pub path: String,
    /// Request headers, each `name: value`.
    pub headers: Vec<String>,
    /// Whether the target speaks TLS (`--plain true` turns it off).
    pub tls: Transport,
}

/// How the generator talks to the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// TLS 1.3 with `TLS_AES_128_GCM_SHA256` and X25519, nothing else offered.
    Tls,
    /// Plain TCP: the upstream itself, without a proxy.
    Plain,
}

impl Options {
    /// Reads the process's arguments.
    ///
    /// # Errors
    /// An unknown name, a missing value, or a value that does not parse.
    pub fn from_args() -> Result<Self, Failure> {
        let mut options = Self {
            port: 0,
            connections: 16,
            seconds: 2.0,
            rate: 1_000.0,
            warmup_seconds: 0.4,
            path: "/api/v1/items/42".to_owned(),
            headers: Vec::new(),
            tls: Transport::Tls,
        };
        let mut args = std::env::args().skip(1);
        while let Some(name) = args.next() {
            let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
            match name.as_str() {
                "--port" => options.port = value.parse()?,
                "--connections" => options.connections = value.parse()?,
                "--seconds" => options.seconds = value.parse()?,
                "--rate" => options.rate = value.parse()?,
                "--warmup" => options.warmup_seconds = value.parse()?,
                "--path" => options.path = value,
                "--header" => options.headers.push(value),
                "--plain" => options.tls = if value == "true" { Transport::Plain } else { Transport::Tls },
                _ => return Err(format!("unknown option {name}").into()),
            }
        }
        if options.port == 0 || options.connections == 0 || options.rate <= 0.0 {
            return Err("--port, --connections and --rate must be above zero".into());
        }
        Ok(options)
    }

    /// The bytes of the GET request, with one more header line (may be empty).
    pub fn request(&self, extra: &str) -> Vec<u8> {
        let mut text = format!("GET {} HTTP/1.1\r\nhost: localhost\r\n", self.path);
        for line in self.headers.iter().map(String::as_str).chain((!extra.is_empty()).then_some(extra)) {
            text.push_str(line);
            text.push_str("\r\n");
        }
        text.push_str("\r\n");
        text.into_bytes()
    }
}

/// Accepts every certificate: a generator shares its core with the upstream and must not spend it on verification.
#[derive(Debug)]
struct AcceptAll;

impl ServerCertVerifier for AcceptAll {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(&self, _: &[u8], _: &CertificateDer<'_>, _: &DigitallySignedStruct) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("only TLS 1.3 is measured".to_owned()))
    }

    fn verify_tls13_signature(&self, _: &[u8], _: &CertificateDer<'_>, _: &DigitallySignedStruct) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

/// Makes the TLS client: TLS 1.3 only, one cipher suite, one group, HTTP/1.1, no resumption (each handshake is a full one).
///
/// # Errors
/// When rustls refuses the combination.
pub fn tls_client() -> Result<Arc<ClientConfig>, Failure> {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites.retain(|suite| suite.suite() == CipherSuite::TLS13_AES_128_GCM_SHA256);
    provider.kx_groups = vec![aws_lc_rs::kx_group::X25519];
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AcceptAll))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// A connection to the target.
#[derive(Debug)]
pub enum Link {
    /// TLS over TCP.
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
    /// TCP alone.
    Plain(TcpStream),
}

impl Link {
    /// Connects; `config` absent means plain TCP. Reads and writes give up after five seconds.
    ///
    /// # Errors
    /// When the connection or the TLS client cannot be made.
    pub fn open(port: u16, config: Option<&Arc<ClientConfig>>) -> Result<Self, Failure> {
        let tcp = TcpStream::connect(("127.0.0.1", port))?;
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(Duration::from_secs(5)))?;
        tcp.set_write_timeout(Some(Duration::from_secs(5)))?;
        Ok(match config {
            None => Self::Plain(tcp),
            Some(config) => {
                let session = ClientConnection::new(Arc::clone(config), ServerName::try_from("localhost")?)?;
                Self::Tls(Box::new(StreamOwned::new(session, tcp)))
            }
        })
    }

    /// Sends `request` and reads its whole response, which must be a 200 with a `Content-Length` or chunked.
    ///
    /// # Errors
    /// Any other status, a head over 16 KiB, or a failing connection.
    pub fn exchange(&mut self, request: &[u8], buffer: &mut Vec<u8>) -> Result<(), Failure> {
        match self {
            Self::Tls(stream) => exchange(stream.as_mut(), request, buffer),
            Self::Plain(stream) => exchange(stream, request, buffer),
        }
    }

    /// The TCP connection alone; TLS is forgotten without a word to the peer.
    pub fn into_tcp(self) -> TcpStream {
        match self {
            Self::Tls(stream) => stream.sock,
            Self::Plain(stream) => stream,
        }
    }
}

fn exchange<S: Read + Write>(stream: &mut S, request: &[u8], buffer: &mut Vec<u8>) -> Result<(), Failure> {
    stream.write_all(request)?;
    stream.flush()?;
    buffer.clear();
    let body_at = loop {
        more(stream, buffer)?;
        if let Some(end) = memchr::memmem::find(buffer, b"\r\n\r\n") {
            break end + 4;
        }
        if buffer.len() > HEAD_BYTES_MAX {
            return Err("response head is over 16 KiB".into());
        }
    };
    let head = buffer.get(..body_at).unwrap_or_default();
    if head.get(9..12) != Some(b"200".as_slice()) {
        return Err(format!("answered {}", String::from_utf8_lossy(head.get(9..12).unwrap_or_default())).into());
    }
    if let Some(length) = header(head, "content-length") {
        let length: usize = std::str::from_utf8(length)?.parse()?;
        while buffer.len() < body_at + length {
            more(stream, buffer)?;
        }
    } else {
        while !buffer.ends_with(b"0\r\n\r\n") {
            more(stream, buffer)?;
        }
    }
    Ok(())
}

fn more<S: Read>(stream: &mut S, buffer: &mut Vec<u8>) -> io::Result<()> {
    let mut chunk = [0; 16 * 1024];
    let count = stream.read(&mut chunk)?;
    if count == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    buffer.extend_from_slice(chunk.get(..count).unwrap_or_default());
    Ok(())
}

/// Finds a header's value, without the spaces around it, in a message head.
pub fn header<'h>(head: &'h [u8], name: &str) -> Option<&'h [u8]> {
    head.split(|byte| *byte == b'\n').skip(1).find_map(|line| {
        let colon = memchr::memchr(b':', line)?;
        let (found, value) = line.split_at_checked(colon)?;
        found.eq_ignore_ascii_case(name.as_bytes()).then(|| value.get(1..).unwrap_or_default().trim_ascii())
    })
}

/// The value below which the share `q` of the sorted sample lies; 0 for an empty sample.
pub fn quantile(sorted: &[u64], q: f64) -> u64 {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "samples are far below 2^52 and q is between 0 and 1"
    )]
    let at = (sorted.len() as f64 * q) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or(0)
}

/// What one thread saw, and the sum of all.
#[derive(Debug, Default)]
pub struct Tally {
    /// Time of each counted request, in nanoseconds.
    pub nanos: Vec<u64>,
    /// Requests that failed or were not answered with 200.
    pub errors: u64,
    /// The first failure's text, for the person who has to find out why.
    pub first_error: Option<String>,
}

impl Tally {
    /// Adds another thread's tally.
    pub fn merge(&mut self, other: Self) {
        self.nanos.extend(other.nanos);
        self.errors += other.errors;
        self.first_error = self.first_error.take().or(other.first_error);
    }

    /// Counts a failure.
    pub fn fail(&mut self, failure: &Failure) {
        self.errors += 1;
        if self.first_error.is_none() {
            self.first_error = Some(failure.to_string().replace(['"', '\\', '\n'], " "));
        }
    }

    /// One line of JSON: requests, errors, rate over `seconds`, quantiles in microseconds.
    pub fn json(mut self, seconds: f64) -> String {
        self.nanos.sort_unstable();
        #[expect(clippy::cast_precision_loss, reason = "a run makes far fewer than 2^52 requests")]
        let rps = self.nanos.len() as f64 / seconds;
        let micros = |q| Duration::from_nanos(quantile(&self.nanos, q)).as_secs_f64() * 1e6;
        format!(
            r#"{{"requests":{},"errors":{},"rps":{rps:.1},"p50_us":{:.1},"p99_us":{:.1},"p999_us":{:.1},"first_error":"{}"}}"#,
            self.nanos.len(),
            self.errors,
            micros(0.5),
            micros(0.99),
            micros(0.999),
            self.first_error.unwrap_or_default(),
        )
    }
}

/// Runs `work` on one thread per connection (it gets the thread's number) and sums what they saw.
///
/// # Errors
/// When a thread cannot be started or panicked.
pub fn on_threads<F>(connections: u32, work: F) -> Result<Tally, Failure>
where
    F: Fn(u32) -> Tally + Send + Sync,
{
    let work = &work;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..connections).map(|index| scope.spawn(move || work(index))).collect();
        let mut sum = Tally::default();
        for thread in threads {
            sum.merge(thread.join().map_err(|_| "a generator thread panicked")?);
        }
        Ok(sum)
    })
}
