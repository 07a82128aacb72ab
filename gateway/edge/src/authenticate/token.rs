//! Verifies a token, with a key of its issuer that may have to be fetched first.

use std::sync::Arc;

use super::{
    certificate,
    principal::{Token, subject_id},
};
use crate::{
    certificate::{PeerCertificate, Shown},
    issuers::{Again, Fetched, Known, Refusal},
    runtime::Edge,
};
use model::{
    denial::Traits,
    id::ApplicationId,
    jwt::{
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
        identity::{Binding, Holder, KeySource, Remote, TokenRule},
    },
    time::Now,
};

/// What a client waits before it asks again: the first fetches after one that failed come within it.
const RETRY_SECONDS: u64 = 5;

/// A token as it came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'r> {
    pub(super) text: &'r str,
    /// What the connection's handshake showed.
    pub(super) shown: &'r Shown,
    /// Whether it is for a read.
    pub(super) is_read: bool,
}

/// Verifies a token of one of the issuers.
///
/// # Errors
/// `credentials-invalid`, the same for everything that is wrong with a token: why is counted, for operators. `issuer-unreachable`
/// where only a key set could tell that cannot be had, `certificate-not-asked` where the client could not show what the token is bound to.
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
    let check = Check { edge, route, is_read: request.is_read, now };
    let token = Unverified::parse(request.text).map_err(|rejection| check.refused(Refusal::Token(rejection.reason())))?;
    edge.issuers.offered(token.key_hints());
    let rule = token.issuer_claimed().and_then(|claimed| rules.iter().find(|rule| **rule.rules.issuer() == *claimed));
    let rule = rule.ok_or_else(|| check.refused(Refusal::Token(Reason::IssuerWrong)))?;
    let verified = match &rule.issuer.keys {
        KeySource::Fixed { keys, .. } => issuer::verify(&rule.rules, keys, &token, now.wall).map_err(|rejection| check.rejected(&rejection))?,
        KeySource::Remote(remote) => check.by_remote(rule, remote, &token).await?,
    };
    check.confirmed(rule, verified.confirmation, request.shown)?;
    let traits = Traits { issuer: &verified.issuer, subject: &verified.subject, id: verified.token_id.as_deref(), issued_at: verified.issued_at };
    if snapshot.authority.denials.refuses(&traits) {
        return Err(check.refused(Refusal::Denied));
    }
    let holder = match &rule.issuer.holder {
        Holder::Application(name) => Some(&**name),
        Holder::Client => verified.client.as_deref(),
    };
    let Some(application) = holder.and_then(|name| snapshot.authority.application_ids.get(name)) else {
        tracing::debug!(issuer = &*rule.issuer.name, "a token holds, but its application is not known");
        return Err(check.refused(Refusal::ApplicationUnknown));
    };
    Ok(Arc::new(of(rule, verified, *application)))
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
    }
}

/// What the check of one token is made with.
struct Check<'c> {
    edge: &'c Edge,
    route: &'c Route,
    is_read: bool,
    now: Now,
}

impl Check<'_> {
    /// Whether the sender has proved what has to be proved beside the token (RFC 8705 section 3). What cannot be checked is refused: taken
    /// without its proof, a bound token would be worth more to a thief than to its owner.
    fn confirmed(&self, rule: &TokenRule, confirmation: Option<Confirmation>, shown: &Shown) -> Result<(), Denial> {
        let Some(confirmation) = confirmation else {
            return if rule.issuer.certificate_bound == Binding::Require { Err(self.refused(Refusal::Unbound)) } else { Ok(()) };
        };
        let bound = match confirmation {
            Confirmation { key_thumbprint: None, certificate_thumbprint: Some(bound), .. } if rule.issuer.certificate_bound != Binding::Refuse => {
                bound
            }
            _ => return Err(self.refused(Refusal::Bound)),
        };
        if matches!(shown, Shown::NotAsked) {
            return Err(certificate::not_asked());
        }
        let holds = |shown: &Arc<PeerCertificate>| shown.facts().thumbprint().0 == bound && shown.facts().is_within_dates(self.now.wall);
        if shown.certificate().is_some_and(holds) { Ok(()) } else { Err(self.refused(Refusal::OfAnother)) }
    }

    async fn by_remote(&self, rule: &TokenRule, remote: &Arc<Remote>, token: &Unverified<'_>) -> Result<Verified, Denial> {
        let known = self.edge.issuers.of(&rule.issuer.name, remote).await.ok_or_else(|| self.unreachable(rule))?;
        let mut keys = self.usable(rule, &known).await?;
        let mut rejection = match issuer::verify(&rule.rules, &keys, token, self.now.wall) {
            Ok(verified) => return Ok(verified),
            Err(rejection) => rejection,
        };
        if matches!(rejection, Rejection::UnknownKey { .. }) {
            let again = known.again(self.now.boot).await;
            if let Some(newer) = known.keys().filter(|newer| !Arc::ptr_eq(&newer.keys, &keys)) {
                keys = newer.keys;
                rejection = match issuer::verify(&rule.rules, &keys, token, self.edge.clock.wall()) {
                    Ok(verified) => return Ok(verified),
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
        tracing::debug!(issuer = &*rule.issuer.name, "a token cannot be judged without the issuer's keys");
        Denial::new(ProblemKind::IssuerUnreachable, "the issuer of the token cannot be asked for its keys right now; try again")
            .retry_after(RETRY_SECONDS)
    }

    fn rejected(&self, rejection: &Rejection) -> Denial {
        self.refused(Refusal::Token(rejection.reason()))
    }

    fn refused(&self, why: Refusal) -> Denial {
        self.edge.issuers.refused(why);
        tracing::debug!(route = &*self.route.name, reason = why.code(), "a token was refused");
        invalid()
    }
}

/// The refusal of a token, whatever is wrong with it.
pub(super) fn invalid() -> Denial {
    Denial::new(ProblemKind::CredentialsInvalid, "the token is not accepted; check its issuer, audience and expiry, and that it is complete")
}
