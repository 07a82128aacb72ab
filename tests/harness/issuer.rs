//! An issuer of JSON Web Tokens, played over HTTPS: keys of its own, a key set that can change, and every way to be a bad one.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use data_encoding::BASE64URL_NOPAD;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::listening::accept_each;

/// A key that signs tokens.
pub struct Signer {
    /// The id by which tokens name it.
    pub key_id: String,
    pair: Pair,
}

/// Private keys stay out of what is printed.
impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signer({}, {})", self.key_id, self.algorithm())
    }
}

enum Pair {
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

impl Signer {
    /// A key for ES256.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn p256(key_id: &str) -> Result<Self> {
        Ok(Self { key_id: key_id.to_owned(), pair: Pair::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?) })
    }

    /// A key for `EdDSA`.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn ed25519(key_id: &str) -> Result<Self> {
        Ok(Self { key_id: key_id.to_owned(), pair: Pair::Ed25519(Ed25519KeyPair::generate()?) })
    }

    /// A key for RS256.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn rsa(key_id: &str) -> Result<Self> {
        Ok(Self { key_id: key_id.to_owned(), pair: Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048)?) })
    }

    /// The algorithm's name.
    pub const fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::P256(_) => "ES256",
            Pair::Ed25519(_) => "EdDSA",
            Pair::Rsa(_) => "RS256",
        }
    }

    /// The public half, as a key set has it (RFC 7517).
    ///
    /// # Errors
    /// When the key has another form than is written here.
    pub fn jwk(&self) -> Result<Value> {
        let text = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        let mut jwk = match &self.pair {
            Pair::P256(pair) => {
                let (x, y) = pair.public_key().as_ref().get(1..).and_then(|point| point.split_at_checked(32)).context("no point")?;
                json!({ "kty": "EC", "crv": "P-256", "x": text(x), "y": text(y) })
            }
            Pair::Ed25519(pair) => json!({ "kty": "OKP", "crv": "Ed25519", "x": text(pair.public_key().as_ref()) }),
            Pair::Rsa(pair) => {
                // An RSAPublicKey of 2,048 bits (RFC 8017 appendix A.1.1): two heads of four bytes, a zero, the modulus, and 65,537.
                let der = pair.public_key().as_ref();
                ensure!(der.len() == 270 && der.ends_with(&[2, 3, 1, 0, 1]), "another form of an RSA key");
                json!({ "kty": "RSA", "n": text(der.get(9..265).context("no modulus")?), "e": "AQAB" })
            }
        };
        if let Some(members) = jwk.as_object_mut() {
            members.insert("kid".to_owned(), json!(self.key_id));
            members.insert("use".to_owned(), json!("sig"));
        }
        Ok(jwk)
    }

    /// Signs bytes.
    ///
    /// # Errors
    /// When the key cannot sign.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        let random = SystemRandom::new();
        Ok(match &self.pair {
            Pair::P256(pair) => pair.sign(&random, message)?.as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)?;
                signature
            }
        })
    }

    /// A token with exactly this header and payload.
    ///
    /// # Errors
    /// When the key cannot sign.
    pub fn compact(&self, header: &str, payload: &str) -> Result<String> {
        let signed = format!("{}.{}", BASE64URL_NOPAD.encode(header.as_bytes()), BASE64URL_NOPAD.encode(payload.as_bytes()));
        let signature = self.sign(signed.as_bytes())?;
        Ok(format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature)))
    }

    /// A token with these claims, and an ordinary header.
    ///
    /// # Errors
    /// When the key cannot sign.
    pub fn token(&self, claims: &Value) -> Result<String> {
        self.compact(&json!({ "alg": self.algorithm(), "kid": self.key_id }).to_string(), &claims.to_string())
    }
}

/// How an issuer answers who asks for its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// As it should.
    Well,
    /// With this status, and the keys all the same.
    Status(u16),
    /// With a redirect to the place where the keys are.
    Redirect,
    /// After this long.
    Slow(Duration),
    /// Never.
    Silent,
    /// With something that is no key set.
    Garbage,
    /// With more than anybody wants.
    Endless,
    /// With a set of no keys.
    Empty,
    /// With half of it.
    CutOff,
}

/// The issuer.
#[derive(Debug)]
pub struct Issuer {
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    url: String,
    keys: Mutex<Vec<Value>>,
    manner: Mutex<Manner>,
    claimed: Mutex<String>,
    fetches: AtomicU64,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Issuer {
    /// Starts it on a port of its own, with a certificate for `127.0.0.1`.
    ///
    /// # Errors
    /// When the files cannot be read, or there is no port.
    pub async fn start(certificate: &Path, key: &Path, keys: &[&Signer]) -> Result<Self> {
        let tls = acceptor(certificate, key)?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let url = format!("https://127.0.0.1:{}", listener.local_addr()?.port());
        let shared = Arc::new(Shared {
            keys: Mutex::new(keys.iter().map(|key| key.jwk()).collect::<Result<_>>()?),
            manner: Mutex::new(Manner::Well),
            claimed: Mutex::new(url.clone()),
            url,
            fetches: AtomicU64::new(0),
        });
        let served = Arc::clone(&shared);
        let tasks = accept_each(listener, move |stream| {
            let (tls, shared) = (tls.clone(), Arc::clone(&served));
            async move { serve(stream, &tls, &shared).await.unwrap_or_default() }
        });
        Ok(Self { shared, _tasks: tasks })
    }

    /// `iss`, and where it is.
    pub fn url(&self) -> &str {
        &self.shared.url
    }

    /// Publishes these keys in place of those before.
    ///
    /// # Errors
    /// When a key has another form than is written here.
    pub fn publish(&self, keys: &[&Signer]) -> Result<()> {
        *locked(&self.shared.keys) = keys.iter().map(|key| key.jwk()).collect::<Result<_>>()?;
        Ok(())
    }

    /// Answers otherwise from now on.
    pub fn behave(&self, manner: Manner) {
        *locked(&self.shared.manner) = manner;
    }

    /// Says in its configuration that it is somebody else.
    pub fn claim_to_be(&self, issuer: &str) {
        issuer.clone_into(&mut locked(&self.shared.claimed));
    }

    /// How often its key set was asked for.
    pub fn fetches(&self) -> u64 {
        self.shared.fetches.load(Ordering::Acquire)
    }

    /// Claims of a token that is good for five minutes.
    pub fn claims(&self) -> Value {
        let now = time::OffsetDateTime::now_utc().unix_timestamp();
        json!({ "iss": self.url(), "sub": "alice", "aud": "api", "exp": now + 300, "iat": now, "azp": "default", "scope": "read write" })
    }
}

/// TLS with a certificate that lies in files.
pub(crate) fn acceptor(certificate: &Path, key: &Path) -> Result<TlsAcceptor> {
    let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<Vec<_>, _>>()?;
    let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Serves one request on a connection.
async fn serve(stream: TcpStream, tls: &TlsAcceptor, shared: &Shared) -> Result<()> {
    let mut stream = tls.accept(stream).await?;
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        ensure!(stream.read_buf(&mut head).await? > 0 && head.len() < 16_384, "no head");
    }
    let is_elsewhere = head.starts_with(b"GET /elsewhere ");
    let is_configuration = head.starts_with(b"GET /.well-known/openid-configuration ");
    if !is_configuration {
        shared.fetches.fetch_add(1, Ordering::AcqRel);
    }
    let text = if is_configuration {
        json!({ "issuer": *locked(&shared.claimed), "jwks_uri": format!("{}/keys", shared.url) }).to_string()
    } else {
        json!({ "keys": *locked(&shared.keys) }).to_string()
    };
    // Who follows a redirect finds the keys.
    let manner = if is_elsewhere { Manner::Well } else { *locked(&shared.manner) };
    say(&mut stream, manner, &text, "{\"keys\":[]}").await
}

/// Answers in a manner, well with this text.
pub(crate) async fn say(stream: &mut TlsStream<TcpStream>, manner: Manner, text: &str, empty: &str) -> Result<()> {
    let whole = |status: u16, more: &str, text: &str| {
        format!("HTTP/1.1 {status} Said\r\ncontent-type: application/json\r\nconnection: close\r\n{more}content-length: {}\r\n\r\n{text}", text.len())
    };
    let answer = match manner {
        Manner::Well => whole(200, "", text),
        Manner::Status(status) => whole(status, "", text),
        Manner::Redirect => whole(302, "location: /elsewhere\r\n", text),
        Manner::Slow(pause) => {
            tokio::time::sleep_until(tokio::time::Instant::now() + pause).await;
            whole(200, "", text)
        }
        Manner::Silent => std::future::pending().await,
        Manner::Garbage => whole(200, "", "<html>"),
        Manner::Endless => {
            stream.write_all(b"HTTP/1.1 200 Said\r\ntransfer-encoding: chunked\r\n\r\n").await?;
            loop {
                stream.write_all(format!("1000\r\n{}\r\n", " ".repeat(4_096)).as_bytes()).await?;
            }
        }
        Manner::Empty => whole(200, "", empty),
        Manner::CutOff => {
            let mut half = whole(200, "", text);
            half.truncate(half.len() - text.len() / 2);
            half
        }
    };
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    Ok(())
}
