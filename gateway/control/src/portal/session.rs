//! Who is it: an opaque random id in a cookie, of which the database holds a digest.

use std::time::Duration;

use axum::extract::FromRequestParts;
use data_encoding::BASE64URL_NOPAD;
use http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts};
use model::{
    id::AccountId,
    key::fingerprint_plain,
    problem::{Denial, ProblemKind},
    time::UtcMicros,
};
use store::{
    account::{
        self, AccountInfo, AccountState,
        second_factor::Shown,
        session::{self, NewSession, Proof},
        sign_in,
        team::Membership,
    },
    actor::{Actor, ActorKind},
    pool::Primary,
};

use crate::{
    admin::{read, store_refusal},
    policy::{self, Role},
    refusal::Refusal,
    state::ControlState,
};

/// With this prefix browsers take it over TLS alone, for this host alone (RFC 6265bis section 4.1.3.2).
const COOKIE: &str = "__Host-causeway";
/// Of a sign-in that waits for its code; it opens nothing.
const HALF_OPEN_COOKIE: &str = "__Host-causeway-code";

/// Of a sign-in that is under way at a provider.
const PROVIDER_COOKIE: &str = "__Host-causeway-provider";
/// The longest value of that: it has a path of ours in it.
const PROVIDER_COOKIE_MAX: usize = 1_024;

/// Seconds without a request after which a session is over.
const IDLE_SECONDS: i64 = 2 * 60 * 60;
/// Seconds after which it is over anyway.
const ABSOLUTE_SECONDS: i64 = 12 * 60 * 60;
/// Seconds in which the code has to come after the password.
const HALF_OPEN_SECONDS: i64 = 5 * 60;
/// Seconds in which its last use is written at most once.
const TOUCH_SECONDS: i64 = 60;

/// How long a look-up waits for its turn.
const LOOKUP_WAIT: Duration = Duration::from_secs(2);

/// The field of requests by which parts of a page renew themselves.
pub(super) const RENEWAL: HeaderName = HeaderName::from_static("hx-request");

/// A person who has signed in.
#[derive(Debug, Clone)]
pub(super) struct SignedIn {
    pub(super) digest: [u8; 32],
    pub(super) account: AccountInfo,
    pub(super) teams: Vec<Membership>,
    /// What they may be as an operator; most are none, and none is whoever has yet to set up a second factor.
    pub(super) roles: Vec<Role>,
    /// What their session was begun with.
    pub(super) proof: Proof,
    /// An operator without a second factor: they set one up, or leave.
    pub(super) must_enroll: bool,
}

impl SignedIn {
    /// Who acts. A mail address would stand for ever in a log that cannot forget.
    pub(super) fn actor(&self) -> Actor {
        actor(&self.account)
    }
}

/// An account as whoever acts.
pub(super) fn actor(account: &AccountInfo) -> Actor {
    Actor { kind: ActorKind::Account, name: account.id.to_string() }
}

/// Whoever has signed in; only behind a gate that asks for it.
impl FromRequestParts<ControlState> for SignedIn {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &ControlState) -> Result<Self, Refusal> {
        parts.extensions.get::<Self>().cloned().ok_or_else(Refusal::internal)
    }
}

/// Whoever looks, known or not.
#[derive(Debug, Clone)]
pub(super) struct Visitor(pub(super) Option<SignedIn>);

impl FromRequestParts<ControlState> for Visitor {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &ControlState) -> Result<Self, Self::Rejection> {
        Ok(Self(parts.extensions.get::<SignedIn>().cloned()))
    }
}

/// Finds whose session a request belongs to. A cookie that stands for nothing is no mistake: sessions end.
pub(super) async fn visitor(state: &ControlState, headers: &HeaderMap) -> Result<Option<SignedIn>, Refusal> {
    let Some(digest) = presented(headers) else { return Ok(None) };
    let found = {
        let busy = || Refusal::from(Denial::new(ProblemKind::Overloaded, "too many sessions are looked up at once").retry_after(1));
        let Ok(Ok(_turn)) = tokio::time::timeout(LOOKUP_WAIT, state.portal().lookups.acquire()).await else { return Err(busy()) };
        read!(state, |reader| session::find(reader, &digest))?
    };
    let Some(found) = found else { return Ok(None) };
    let now = state.now().wall;
    if is_over(&found, now) {
        return Ok(None);
    }
    // A page that renews itself is nobody's use of it.
    if now >= found.seen_at.plus_seconds(TOUCH_SECONDS)
        && !headers.contains_key(RENEWAL)
        && let Ok(primary) = state.primary()
    {
        // A session that could not be touched ends sooner than it should, and no page is refused for that.
        session::touch(&primary, &digest, now).await.ok();
    }
    let teams = read!(state, |reader| account::team::of_account(reader, found.account.id))?;
    let must_enroll = found.account.role.is_some() && found.proof == Proof::Password;
    let roles = found.account.role.as_deref().filter(|_| !must_enroll).map(policy::roles).unwrap_or_default();
    Ok(Some(SignedIn { digest, account: found.account, teams, roles, proof: found.proof, must_enroll }))
}

/// Whether a session opens nothing any more.
pub(super) fn is_over(session: &session::Session, now: UtcMicros) -> bool {
    let is_old = now >= session.expires_at || now >= session.seen_at.plus_seconds(IDLE_SECONDS);
    // Begun while the second factor was being set up, or by a node that knows of none.
    let lacks_factor = session.account.has_second_factor && session.proof == Proof::Password;
    session.account.state != AccountState::Active || is_old || lacks_factor
}

/// Begins a session; the value of the cookie leaves in the answer alone. A session that the request came with is over: its id may be one
/// that somebody else has planted.
pub(super) async fn begin(state: &ControlState, headers: &HeaderMap, account: &AccountInfo, proof: Proof) -> Result<HeaderValue, Refusal> {
    let primary = state.primary().map_err(|error| store_refusal(&error))?;
    end_presented(&primary, headers).await?;
    let drawn = Drawn::new(state);
    session::begin(&primary, drawn.session(state, account.id, proof)).await.map_err(|error| store_refusal(&error))?;
    cookie(&drawn.id, ABSOLUTE_SECONDS)
}

async fn end_presented(primary: &Primary, headers: &HeaderMap) -> Result<(), Refusal> {
    let Some(digest) = presented(headers) else { return Ok(()) };
    session::end(primary, &digest).await.map_err(|error| store_refusal(&error))
}

/// An id that nobody can guess, and what the database keeps of it.
struct Drawn {
    id: String,
    digest: [u8; 32],
}

impl Drawn {
    fn new(state: &ControlState) -> Self {
        let id = BASE64URL_NOPAD.encode(&state.random32());
        let digest = fingerprint_plain(id.as_bytes());
        Self { id, digest }
    }

    fn session(&self, state: &ControlState, account: AccountId, proof: Proof) -> NewSession<'_> {
        let at = state.now().wall;
        NewSession { digest: &self.digest, account, proof, at, expires_at: at.plus_seconds(ABSOLUTE_SECONDS) }
    }
}

/// Begins to wait for a code; the cookie that comes with it opens nothing.
pub(super) async fn begin_half_open(state: &ControlState, account: AccountId) -> Result<HeaderValue, Refusal> {
    let primary = state.primary().map_err(|error| store_refusal(&error))?;
    let drawn = Drawn::new(state);
    let at = state.now().wall;
    let begun = sign_in::begin(&primary, &drawn.digest, account, at, at.plus_seconds(HALF_OPEN_SECONDS)).await;
    begun.map_err(|error| store_refusal(&error))?;
    cookie_named(HALF_OPEN_COOKIE, &drawn.id, HALF_OPEN_SECONDS)
}

/// The digest of the one sign-in that a request says it goes on with.
pub(super) fn half_open(headers: &HeaderMap) -> Option<[u8; 32]> {
    presented_as(HALF_OPEN_COOKIE, headers)
}

/// Takes the cookie of a sign-in away.
pub(super) fn no_half_open() -> Result<HeaderValue, Refusal> {
    cookie_named(HALF_OPEN_COOKIE, "", 0)
}

/// Ends a sign-in with its session; nothing when the sign-in is over, or what was shown has been used before.
pub(super) async fn finish(
    state: &ControlState,
    headers: &HeaderMap,
    half_open: &[u8; 32],
    account: AccountId,
    shown: Shown<'_>,
) -> Result<Option<HeaderValue>, Refusal> {
    let primary = state.primary().map_err(|error| store_refusal(&error))?;
    let drawn = Drawn::new(state);
    let new = drawn.session(state, account, Proof::SecondFactor);
    if !sign_in::finish(&primary, half_open, shown, new).await.map_err(|error| store_refusal(&error))? {
        return Ok(None);
    }
    end_presented(&primary, headers).await?;
    Ok(Some(cookie(&drawn.id, ABSOLUTE_SECONDS)?))
}

/// Ends the session.
pub(super) async fn end(state: &ControlState, digest: &[u8; 32]) -> Result<HeaderValue, Refusal> {
    let primary = state.primary().map_err(|error| store_refusal(&error))?;
    session::end(&primary, digest).await.map_err(|error| store_refusal(&error))?;
    cookie("", 0)
}

/// The cookie, for so many seconds.
pub(super) fn cookie(id: &str, seconds: i64) -> Result<HeaderValue, Refusal> {
    cookie_named(COOKIE, id, seconds)
}

fn cookie_named(name: &str, id: &str, seconds: i64) -> Result<HeaderValue, Refusal> {
    let text = format!("{name}={id}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age={seconds}");
    HeaderValue::try_from(text).map_err(|_| Refusal::internal())
}

/// The digest of the one session id that a request presents.
pub(super) fn presented(headers: &HeaderMap) -> Option<[u8; 32]> {
    presented_as(COOKIE, headers)
}

/// The cookie of a sign-in that is under way at a provider.
pub(super) fn provider_cookie(sealed: &str, seconds: i64) -> Result<HeaderValue, Refusal> {
    cookie_named(PROVIDER_COOKIE, sealed, seconds)
}

/// The one value of that cookie.
pub(super) fn provider_presented(headers: &HeaderMap) -> Option<&str> {
    only(PROVIDER_COOKIE, headers).filter(|sealed| sealed.len() <= PROVIDER_COOKIE_MAX)
}

fn presented_as(name: &str, headers: &HeaderMap) -> Option<[u8; 32]> {
    let id = only(name, headers)?;
    let is_ours = id.len() == 43 && BASE64URL_NOPAD.decode(id.as_bytes()).is_ok_and(|bytes| bytes.len() == 32);
    is_ours.then(|| fingerprint_plain(id.as_bytes()))
}

/// The value of a cookie. Of two, somebody has planted one, so none counts.
fn only<'h>(name: &str, headers: &'h HeaderMap) -> Option<&'h str> {
    let texts = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut values = texts.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='));
    let value = values.next()?;
    values.next().is_none().then_some(value)
}

/// An instant for people: to the minute, UTC.
pub(super) fn minute(at: UtcMicros) -> String {
    at.to_string().get(..16).map(|text| text.replace('T', " ") + " UTC").unwrap_or_default()
}
