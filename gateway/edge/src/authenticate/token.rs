//! Verifies a token, with a key of its issuer that may have to be fetched first.

use std::sync::Arc;

use super::{
    credential::Scheme,
    principal::{Token, subject_id},
    verdict::{Fingerprint, Verdict},
};
use crate::{
    certificate::Shown,
    head::Head,
    issuers::{Again, Fetched, Known, Refusal, introspect},
    runtime::Edge,
};
use model::{
    denial::Traits,
    id::ApplicationId,
    jwt::{
        dpop::Proved,
        introspection::{self, Answer},
        issuer::{self, Confirmation, Verified},
        keys::KeySet,
        rejection::{Reason, Rejection},
        token::Unverified,
    },
    policy::OnStaleDoc,
    problem::{Denial, ProblemKind},
    snapshot::Snapshot,
    structure::{
        Route,
        identity::{Holder, Introspection, KeySource, Remote, TokenRule},
    },
    time::Now,
};

/// What a client waits before it asks again: the first fetches after one that failed come within it.
pub(super) const RETRY_SECONDS: u64 = 5;

/// A token as it came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'r> {
    pub(super) text: &'r str,
    /// How it came.
    pub(super) scheme: Scheme<'r>,
    /// With what.
    pub(super) head: &'r Head,
    /// What the connection's handshake showed.
    pub(super) shown: &'r Shown,
}

/// Verifies a token of one of the issuers.
///
/// # Errors
/// `credentials-invalid`, the same for everything that is wrong with a token: why is counted, for operators. `issuer-unreachable`
/// where only a key set could tell that cannot be had, `certificate-not-asked` where the client could not show what the token is bound to,
/// `overloaded` where too many proofs are remembered.
///
/// # Cancel
/// Loses nothing.
pub(super) async fn verify(
    rules: &[TokenRule],
    request: Request<'_>,
    route: &Route,
    snapshot: &Snapshot,
    edge: &Edge,
    now: Now,
) -> Result<Arc<Token>, Denial> {
    let check = Check { edge, route, is_read: request.head.is_read(), now };
    if introspection::is_opaque(request.text)
        && let Some((rule, introspection)) = rules.iter().find_map(|rule| Some((rule, asked(rule)?)))
    {
        return check.ask(rule, introspection, request, snapshot).await;
    }
    let text = Fingerprint::of(request.text);
    if let Some((rule, verdict)) = edge.issuers.verdicts.find(text, rules)
        && let Some(token) = check.again(rule, &verdict, request, snapshot).await?
    {
        return Ok(token);
    }
    let token = Unverified::parse(request.text).map_err(|rejection| check.refused(Refusal::Token(rejection.reason())))?;
    edge.issuers.offered(token.key_hints());
    let rule = token.issuer_claimed().and_then(|claimed| rules.iter().find(|rule| **rule.rules.issuer() == *claimed));
    let rule = rule.ok_or_else(|| check.refused(Refusal::Token(Reason::IssuerWrong)))?;
    // Before the token: whoever has stolen one learns nothing about it that a proof of their own making would not tell.
    let proved = check.possession(rule, request)?;
    let (verified, keys) = match &rule.issuer.keys {
        KeySource::Fixed { keys, .. } => {
            let verified = issuer::verify(&rule.rules, keys, &token, now.wall).map_err(|rejection| check.rejected(&rejection))?;
            (verified, Arc::clone(keys))
        }
        KeySource::Remote(remote) => check.by_remote(rule, remote, &token).await?,
        KeySource::Introspection(_) => return Err(check.refused(Refusal::Token(Reason::IssuerWrong))),
    };
    let application = check.judge(rule, &Said::of(&verified), request, proved.as_ref(), snapshot)?;
    let not_before = verified.not_before;
    let verified = Arc::new(of(rule, verified, application));
    let (hints, keys) = (token.key_hints().into(), Arc::downgrade(&keys));
    edge.issuers.verdicts.keep(text, Verdict { token: Arc::clone(&verified), application, not_before, hints, keys });
    Ok(verified)
}

/// How the issuer of a rule is asked about its tokens, if it is.
fn asked(rule: &TokenRule) -> Option<&Arc<Introspection>> {
    if let KeySource::Introspection(introspection) = &rule.issuer.keys { Some(introspection) } else { None }
}

/// What a token that holds says, as far as it is looked at each time.
struct Said<'v> {
    traits: Traits<'v>,
    client: Option<&'v str>,
    confirmation: Option<Confirmation>,
}

impl<'v> Said<'v> {
    fn of(verified: &'v Verified) -> Self {
        let Verified { issuer, subject, token_id, issued_at, .. } = verified;
        let traits = Traits { issuer, subject, id: token_id.as_deref(), issued_at: *issued_at };
        Self { traits, client: verified.client.as_deref(), confirmation: verified.confirmation }
    }

    fn by(token: &'v Token) -> Self {
        let traits = Traits { issuer: token.rules.issuer(), subject: &token.subject, id: token.id.as_deref(), issued_at: token.issued_at };
        Self { traits, client: token.client.as_deref(), confirmation: token.confirmation }
    }
}

fn of(rule: &TokenRule, verified: Verified, application: ApplicationId) -> Token {
    Token {
        subject_id: subject_id(application, &verified.issuer, &verified.subject),
        issuer: Arc::clone(&rule.issuer),
        rules: Arc::clone(&rule.rules),
        subject: verified.subject,
        id: verified.token_id,
        issued_at: verified.issued_at,
        client: verified.client,
        scopes: verified.scopes.into_vec().into(),
        until: verified.expires_at.plus_seconds(i64::from(rule.rules.leeway_seconds())),
        confirmation: verified.confirmation,
    }
}

/// What the check of one token is made with.
pub(super) struct Check<'c> {
    pub(super) edge: &'c Edge,
    route: &'c Route,
    is_read: bool,
    pub(super) now: Now,
}

impl Check<'_> {
    /// A token that was verified before, if verifying it anew would say the same.
    async fn again(&self, rule: &TokenRule, verdict: &Verdict, request: Request<'_>, snapshot: &Snapshot) -> Result<Option<Arc<Token>>, Denial> {
        let keys = match &rule.issuer.keys {
            KeySource::Fixed { keys, .. } => Arc::clone(keys),
            KeySource::Remote(remote) => self.usable(rule, &self.known(rule, remote).await?).await?,
            KeySource::Introspection(_) => return Ok(None),
        };
        if !verdict.holds(&keys, self.now.wall) {
            return Ok(None);
        }
        self.edge.issuers.offered(&verdict.hints);
        let proved = self.possession(rule, request)?;
        let application = self.judge(rule, &Said::by(&verdict.token), request, proved.as_ref(), snapshot)?;
        self.edge.issuers.verdicts.hit();
        if application == verdict.application {
            return Ok(Some(Arc::clone(&verdict.token)));
        }
        // The name of its application is another's by now.
        let token = &*verdict.token;
        let subject_id = subject_id(application, rule.rules.issuer(), &token.subject);
        Ok(Some(Arc::new(Token { subject_id, ..token.clone() })))
    }

    /// A token that only its issuer can read. Nothing of the route's `on_stale` applies: there is no older word to go by than one that is good.
    async fn ask(
        &self,
        rule: &TokenRule,
        introspection: &Arc<Introspection>,
        request: Request<'_>,
        snapshot: &Snapshot,
    ) -> Result<Arc<Token>, Denial> {
        if !introspection::is_askable(request.text) {
            return Err(self.refused(Refusal::Odd));
        }
        let proved = self.possession(rule, request)?;
        let desk = self.edge.issuers.introspections.desk(&rule.issuer.name, introspection);
        let answer = desk.ask(request.text, self.edge.clock).await.map_err(|introspect::Unreachable| self.unreachable(rule))?;
        let Answer::Active(claims) = &*answer else { return Err(self.refused(Refusal::Inactive)) };
        let now = self.edge.clock.wall();
        let cache = i64::try_from(introspection.cache.as_secs()).unwrap_or(i64::MAX);
        let verified =
            introspection::judge(&rule.rules, claims, now.plus_seconds(cache), now).map_err(|reason| self.refused(Refusal::Token(reason)))?;
        let application = self.judge(rule, &Said::of(&verified), request, proved.as_ref(), snapshot)?;
        Ok(Arc::new(of(rule, verified, application)))
    }

    /// Whether a token that holds gets its sender in, and for which application: what is looked at each time.
    fn judge(
        &self,
        rule: &TokenRule,
        said: &Said<'_>,
        request: Request<'_>,
        proved: Option<&Proved>,
        snapshot: &Snapshot,
    ) -> Result<ApplicationId, Denial> {
        self.confirmed(rule, said.confirmation, request.shown, proved)?;
        if snapshot.authority.denials.refuses(&said.traits) {
            return Err(self.refused(Refusal::Denied));
        }
        let holder = match &rule.issuer.holder {
            Holder::Application(name) => Some(&**name),
            Holder::Client => said.client,
        };
        let Some(application) = holder.and_then(|name| snapshot.authority.application_ids.get(name)) else {
            tracing::debug!(issuer = &*rule.issuer.name, "a token holds, but its application is not known");
            return Err(self.refused(Refusal::ApplicationUnknown));
        };
        if let Some(proved) = proved {
            // Last of all: only a token that holds takes up room.
            self.unused(proved)?;
        }
        Ok(*application)
    }

    async fn known(&self, rule: &TokenRule, remote: &Remote) -> Result<Known, Denial> {
        self.edge.issuers.of(&rule.issuer.name, remote).await.ok_or_else(|| self.unreachable(rule))
    }

    async fn by_remote(&self, rule: &TokenRule, remote: &Arc<Remote>, token: &Unverified<'_>) -> Result<(Verified, Arc<KeySet>), Denial> {
        let known = self.known(rule, remote).await?;
        let mut keys = self.usable(rule, &known).await?;
        let mut rejection = match issuer::verify(&rule.rules, &keys, token, self.now.wall) {
            Ok(verified) => return Ok((verified, keys)),
            Err(rejection) => rejection,
        };
        if matches!(rejection, Rejection::UnknownKey { .. }) {
            let again = known.again(self.now.boot).await;
            if let Some(newer) = known.keys().filter(|newer| !Arc::ptr_eq(&newer.keys, &keys)) {
                keys = newer.keys;
                rejection = match issuer::verify(&rule.rules, &keys, token, self.edge.clock.wall()) {
                    Ok(verified) => return Ok((verified, keys)),
                    Err(rejection) => rejection,
                };
            }
            // Whether the issuer knows this key cannot be told while its set cannot be had.
            if matches!(rejection, Rejection::UnknownKey { .. }) && (again == Again::Late || known.is_failing()) {
                return Err(self.unreachable(rule));
            }
        }
        Err(self.rejected(&rejection))
    }

    /// The keys that are known, if they are not too old for this route.
    async fn usable(&self, rule: &TokenRule, known: &Known) -> Result<Arc<KeySet>, Denial> {
        let mut fetched = match known.keys() {
            Some(fetched) => fetched,
            None => known.first().await.ok_or_else(|| self.unreachable(rule))?,
        };
        let is_young = |fetched: &Fetched| u128::from(self.now.boot.nanos_since(fetched.at)) <= known.remote().stale_max.as_nanos();
        if !is_young(&fetched) {
            // The machine may have been asleep, and the schedule with it.
            known.again(self.now.boot).await;
            fetched = known.keys().unwrap_or(fetched);
        }
        let is_fresh = is_young(&fetched);
        let is_allowed = match self.route.keys.on_stale {
            OnStaleDoc::Deny => false,
            OnStaleDoc::Allow => true,
            OnStaleDoc::AllowReads => self.is_read,
        };
        if is_fresh || is_allowed { Ok(fetched.keys) } else { Err(self.unreachable(rule)) }
    }

    fn unreachable(&self, rule: &TokenRule) -> Denial {
        self.edge.issuers.refused(Refusal::Unreachable);
        tracing::debug!(issuer = &*rule.issuer.name, "a token cannot be judged without its issuer");
        Denial::new(ProblemKind::IssuerUnreachable, "the issuer of the token cannot be asked right now; try again").retry_after(RETRY_SECONDS)
    }

    fn rejected(&self, rejection: &Rejection) -> Denial {
        self.refused(Refusal::Token(rejection.reason()))
    }

    pub(super) fn refused(&self, why: Refusal) -> Denial {
        self.edge.issuers.refused(why);
        tracing::debug!(route = &*self.route.name, reason = why.code(), "a token was refused");
        invalid()
    }
}

/// The refusal of a token, whatever is wrong with it.
pub(super) fn invalid() -> Denial {
    Denial::new(ProblemKind::CredentialsInvalid, "the token is not accepted; check its issuer, audience and expiry, and that it is complete")
}
