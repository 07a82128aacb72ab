//! An `OpenID` provider, for the control plane: authorization code with PKCE.
//!
//! # Source
//! `OpenID` Connect Core 1.0 §3.1, `OpenID` Connect Discovery 1.0 §4, RFC 6749 §2.3.1 and §4.1, RFC 7636, RFC 9207.

use std::{fmt, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use control::port::{Begin, Begun, Provided, Provider, ProviderFault, Redeem, Redeemed};
use data_encoding::BASE64;
use edge::issuers::ask::{Form, Outside};
use http::HeaderValue;
use model::{
    jwt::{
        id_token::{IdTokenFault, IdTokenRules, Person},
        keys::KeySet,
        rejection::Rejection,
    },
    secret::SecretText,
    time::{BootNanos, Now},
};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use serde::Deserialize;
use tokio::sync::{Mutex, Semaphore};
use url::{Url, form_urlencoded};

use crate::{
    boot,
    config::sign_in::{OidcConfig, RoleConfig},
};

/// The path that the provider sends people back to.
pub const BACK: &str = "/portal/sign-in/provider/back";

/// The whole of what the provider is asked for one sign-in.
const WITHIN: Duration = Duration::from_secs(10);
/// What it is asked for about itself, for whoever waits for that too: shorter, so that a failure is noted before the first of them gives up.
const ASK_WITHIN: Duration = Duration::from_secs(6);
/// The largest answer.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// The largest key set: as those of issuers.
const KEY_SET_BYTES_MAX: usize = 256 << 10;
/// Codes that are redeemed at once: each is a request to somebody else.
const AT_ONCE: usize = 8;
/// People who are led to the provider at once. Mostly that takes no time, but while the provider says nothing each of them holds a place
/// that other visitors of the portal want.
const BEGINNING_MAX: usize = 16;
/// How long a provider that could not be asked is left alone.
const FAULT_NANOS: u64 = 5 * 1_000_000_000;
/// How long a configuration and keys are used before they are asked for again.
const FRESH_NANOS: u64 = 3_600 * 1_000_000_000;
/// Between two looks for a key that is not known.
const COOL_DOWN_NANOS: u64 = 30 * 1_000_000_000;

/// One provider. Clones share one state.
#[derive(Clone)]
pub struct OidcProvider(Arc<Inner>);

struct Inner {
    name: String,
    issuer: String,
    client_id: String,
    authorization: HeaderValue,
    redirect: String,
    roles: Vec<RoleConfig>,
    rules: IdTokenRules,
    outside: Outside,
    known: Mutex<Kept>,
    beginning: Semaphore,
    places: Semaphore,
}

impl fmt::Debug for OidcProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OidcProvider").field("issuer", &self.0.issuer).finish_non_exhaustive()
    }
}

/// What is kept of it.
#[derive(Default)]
struct Kept {
    known: Option<Known>,
    /// When it could not be asked last.
    failed: Option<BootNanos>,
}

/// What the provider has said about itself.
#[derive(Clone)]
struct Known {
    asked: Now,
    endpoints: Arc<Endpoints>,
    keys: Arc<KeySet>,
}

struct Endpoints {
    authorization: Url,
    token: Url,
}

/// What is read of a configuration (Discovery §3).
#[derive(Deserialize)]
struct Configuration {
    issuer: String,
    authorization_endpoint: Url,
    token_endpoint: Url,
    jwks_uri: Url,
}

/// What is read of a token answer (Core §3.1.3.3). The access token is of no use here.
#[derive(Deserialize)]
struct Tokens {
    id_token: SecretString,
}

/// A text that no `Debug` shows.
#[derive(Deserialize)]
#[serde(transparent)]
struct SecretString(String);

impl OidcProvider {
    /// Takes the configuration. The provider is asked when somebody signs in, so that a node starts without it.
    ///
    /// # Errors
    /// When a file or a secret cannot be read.
    pub fn new(config: &OidcConfig) -> Result<Self> {
        let ca = config.ca.as_ref().map(|path| {
            let read = || CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>();
            read().with_context(|| format!("cannot read the provider's roots from {}", path.display()))
        });
        let outside = Outside::new(ca.transpose()?.as_deref(), config.private_addresses).context("the provider's roots cannot be used")?;
        let secret = boot::secret("provider's client secret", &config.client_secret)?;
        let rules = IdTokenRules::new(&config.issuer, &config.client_id, &config.roles.claim).context("`control.sign_in.oidc`")?;
        Ok(Self(Arc::new(Inner {
            name: config.name.clone(),
            issuer: config.issuer.clone(),
            client_id: config.client_id.clone(),
            authorization: basic(&config.client_id, &secret)?,
            redirect: format!("{}{BACK}", config.origin.as_str().trim_end_matches('/')),
            roles: config.roles.values.clone(),
            rules,
            outside,
            known: Mutex::default(),
            beginning: Semaphore::new(BEGINNING_MAX),
            places: Semaphore::new(AT_ONCE),
        })))
    }
}

/// RFC 6749 §2.3.1: both are encoded like a form before they are joined.
fn basic(id: &str, secret: &SecretText) -> Result<HeaderValue> {
    let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = format!("{}:{}", encoded(id), encoded(secret.expose_secret()));
    let mut value = HeaderValue::try_from(format!("Basic {}", BASE64.encode(pair.as_bytes())))?;
    value.set_sensitive(true);
    Ok(value)
}

impl Provider for OidcProvider {
    fn name(&self) -> &str {
        &self.0.name
    }

    fn issuer(&self) -> &str {
        &self.0.issuer
    }

    fn begin(&self, begin: Begin) -> Begun {
        let inner = Arc::clone(&self.0);
        Box::pin(async move {
            let Ok(_place) = inner.beginning.try_acquire() else { return Err(ProviderFault::Busy) };
            let known = within(inner.known(None)).await?;
            let mut url = known.endpoints.authorization.clone();
            url.query_pairs_mut()
                .append_pair("response_type", "code")
                .append_pair("scope", "openid email profile")
                .append_pair("client_id", &inner.client_id)
                .append_pair("redirect_uri", &inner.redirect)
                .append_pair("state", &begin.state)
                .append_pair("nonce", &begin.nonce)
                .append_pair("code_challenge", &begin.challenge)
                .append_pair("code_challenge_method", "S256");
            Ok(url.into())
        })
    }

    fn redeem(&self, redeem: Redeem) -> Redeemed {
        let inner = Arc::clone(&self.0);
        Box::pin(async move {
            let Ok(_place) = inner.places.try_acquire() else { return Err(ProviderFault::Busy) };
            within(inner.redeemed(redeem)).await
        })
    }
}

async fn within<T>(work: impl Future<Output = Result<T, ProviderFault>>) -> Result<T, ProviderFault> {
    tokio::time::timeout(WITHIN, work).await.unwrap_or_else(|_| {
        tracing::warn!("the provider of sign-ins gave no answer in time");
        Err(ProviderFault::Unreachable)
    })
}

impl Inner {
    async fn redeemed(&self, redeem: Redeem) -> Result<Provided, ProviderFault> {
        let known = self.known(None).await?;
        let text = self.tokens(&known, &redeem).await?;
        let now = || edge::clock::Clock.now();
        let person = match self.rules.verify(&known.keys, &text, &redeem.nonce, now().wall) {
            Err(IdTokenFault::Token(Rejection::UnknownKey { .. })) => {
                let known = self.known(Some(known.asked)).await?;
                self.rules.verify(&known.keys, &text, &redeem.nonce, now().wall)
            }
            judged => judged,
        };
        let person = person.map_err(|fault| {
            tracing::warn!(error = %fault, "a token of the provider of sign-ins was refused");
            ProviderFault::Refused
        })?;
        Ok(self.provided(person))
    }

    /// The ID token for a code.
    async fn tokens(&self, known: &Known, redeem: &Redeem) -> Result<String, ProviderFault> {
        let body = form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "authorization_code")
            .append_pair("code", &redeem.code)
            .append_pair("redirect_uri", &self.redirect)
            .append_pair("code_verifier", &redeem.verifier)
            .finish();
        let form = Form { body, authorization: self.authorization.clone() };
        let answer = self.outside.ask(&known.endpoints.token, Some(form), ANSWER_BYTES_MAX, WITHIN).await.map_err(|fault| {
            tracing::warn!(error = %fault, "the provider of sign-ins gave no token");
            ProviderFault::Refused
        })?;
        // The words of the parser could hold the token.
        let tokens: Tokens = serde_json::from_str(&answer).map_err(|_| {
            tracing::warn!("the provider of sign-ins answered without an ID token");
            ProviderFault::Refused
        })?;
        Ok(tokens.id_token.0)
    }

    fn provided(&self, person: Person) -> Provided {
        let role = self.roles.iter().find(|known| person.values.contains(&known.value)).map(|known| known.role.clone());
        Provided { subject: person.subject.into(), email: person.email, name: person.name, role }
    }

    /// What the provider says about itself: kept for an hour, unless a key is missing in what was asked for at `lacking`.
    async fn known(&self, lacking: Option<Now>) -> Result<Known, ProviderFault> {
        // One at a time: whoever waits here finds what the one before was told.
        let mut kept = self.known.lock().await;
        let now = edge::clock::Clock.now();
        if let Some(known) = &kept.known {
            let age = now.boot.nanos_since(known.asked.boot);
            let is_newer = lacking.is_none_or(|lacking| known.asked.boot.0 > lacking.boot.0);
            if (is_newer && age < FRESH_NANOS) || (lacking.is_some() && age < COOL_DOWN_NANOS) {
                return Ok(known.clone());
            }
        }
        if kept.failed.is_some_and(|failed| now.boot.nanos_since(failed) < FAULT_NANOS) {
            return Err(ProviderFault::Unreachable);
        }
        // Whoever goes away meanwhile leaves no failure behind.
        let asked = tokio::time::timeout(ASK_WITHIN, self.ask(now)).await.unwrap_or_else(|_| Err(anyhow::anyhow!("it gave no answer in time")));
        kept.failed = asked.is_err().then(|| edge::clock::Clock.now().boot);
        let known = asked.map_err(|error| {
            tracing::warn!(error = %error, "the provider of sign-ins cannot be asked");
            ProviderFault::Unreachable
        })?;
        kept.known = Some(known.clone());
        Ok(known)
    }

    async fn ask(&self, asked: Now) -> Result<Known> {
        let place: Url = format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/')).parse()?;
        let text = self.outside.ask(&place, None, ANSWER_BYTES_MAX, WITHIN).await.context("its configuration")?;
        let configuration: Configuration = serde_json::from_str(&text).context("its configuration is none")?;
        anyhow::ensure!(configuration.issuer == self.issuer, "its configuration is another issuer's");
        let Configuration { authorization_endpoint: authorization, token_endpoint: token, jwks_uri, .. } = configuration;
        let is_plain = |url: &&Url| url.scheme() == "https" && url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
        anyhow::ensure!([&authorization, &token, &jwks_uri].iter().all(is_plain), "an address in its configuration is not one of https");
        let text = self.outside.ask(&jwks_uri, None, KEY_SET_BYTES_MAX, WITHIN).await.context("its keys")?;
        let keys = KeySet::from_jwks(&text, IdTokenRules::algorithms()).map_err(|fault| anyhow::anyhow!("its keys: {fault}"))?;
        anyhow::ensure!(keys.n_usable() > 0, "no key of its set can be used");
        Ok(Known { asked, endpoints: Arc::new(Endpoints { authorization, token }), keys: Arc::new(keys) })
    }
}
