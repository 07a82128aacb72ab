//! What the sender of a token has to prove beside it: that it holds the key, or the certificate, that the token is bound to.

use std::sync::Arc;

use http::header;
use model::{
    jwt::{
        dpop::{self, Asked, Fault, Proved},
        issuer::Confirmation,
    },
    problem::{Challenge, Denial, ProblemKind},
    structure::identity::{Binding, TokenRule},
};

use super::{
    certificate,
    credential::Scheme,
    replay::Used,
    token::{Check, RETRY_SECONDS, Request},
};
use crate::{
    certificate::{PeerCertificate, Shown},
    issuers::Refusal,
};

impl Check<'_> {
    /// What a proof of possession proves, if the token came with one. It is held against the request as the client addressed it.
    pub(super) fn possession(&self, rule: &TokenRule, request: Request<'_>) -> Result<Option<Proved>, Denial> {
        let Scheme::Dpop(proof) = request.scheme else { return Ok(None) };
        if rule.issuer.dpop == Binding::Refuse {
            return Err(self.refused(Refusal::Bound));
        }
        let parts = &request.head.parts;
        let authority = parts.uri.authority().map(http::uri::Authority::as_str);
        let authority = authority.or_else(|| parts.headers.get(header::HOST)?.to_str().ok()).unwrap_or_default();
        let asked = Asked { method: parts.method.as_str(), authority, path: request.head.path(), token: request.text };
        let proved = proof.ok_or(Fault::Missing).and_then(|proof| dpop::verify(proof, asked, self.now.wall));
        proved.map(Some).map_err(|fault| self.unproved(Refusal::Dpop(fault)))
    }

    /// Whether the sender has proved what has to be proved beside the token (RFC 8705 section 3, RFC 9449 section 7.1). What cannot be checked
    /// is refused: taken without its proof, a bound token would be worth more to a thief than to its owner.
    pub(super) fn confirmed(
        &self,
        rule: &TokenRule,
        confirmation: Option<Confirmation>,
        shown: &Shown,
        proved: Option<&Proved>,
    ) -> Result<(), Denial> {
        let key = confirmation.and_then(|confirmation| confirmation.key_thumbprint);
        let refusal = match (key, proved) {
            (Some(_), None) if rule.issuer.dpop == Binding::Refuse => Some(Refusal::Bound),
            (Some(_), None) => Some(Refusal::DpopNeeded),
            (Some(key), Some(proved)) if proved.thumbprint != key => Some(Refusal::DpopOfAnother),
            (None, Some(_)) => Some(Refusal::DpopUnbound),
            (None, None) if rule.issuer.dpop == Binding::Require => Some(Refusal::Unbound),
            (None, None) | (Some(_), Some(_)) => None,
        };
        if let Some(refusal) = refusal {
            return Err(self.refused(refusal));
        }
        let Some(bound) = confirmation.and_then(|confirmation| confirmation.certificate_thumbprint) else {
            return if rule.issuer.certificate_bound == Binding::Require { Err(self.refused(Refusal::Unbound)) } else { Ok(()) };
        };
        if rule.issuer.certificate_bound == Binding::Refuse {
            return Err(self.refused(Refusal::Bound));
        }
        if matches!(shown, Shown::NotAsked) {
            return Err(certificate::not_asked());
        }
        let holds = |shown: &Arc<PeerCertificate>| shown.facts().thumbprint().0 == bound && shown.facts().is_within_dates(self.now.wall);
        if shown.certificate().is_some_and(holds) { Ok(()) } else { Err(self.refused(Refusal::OfAnother)) }
    }

    /// Uses a proof up.
    pub(super) fn unused(&self, proved: &Proved) -> Result<(), Denial> {
        match self.edge.issuers.replays.spend(proved, self.now.boot) {
            Ok(()) => Ok(()),
            Err(Used::Before) => Err(self.unproved(Refusal::DpopReplayed)),
            Err(Used::Full) => {
                self.edge.issuers.refused(Refusal::DpopFull);
                let text = "too many requests came with proofs of possession; whether this one was used already could not be told later";
                Err(Denial::new(ProblemKind::Overloaded, text).retry_after(RETRY_SECONDS))
            }
        }
    }

    /// The refusal of a proof, whatever is wrong with it.
    fn unproved(&self, why: Refusal) -> Denial {
        let text = "the proof of possession is not accepted; make one for each request, for its method, address and token";
        Denial { detail: text.into(), ..self.refused(why).challenging(Challenge::DpopProof) }
    }
}
