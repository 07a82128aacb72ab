//! What a client's certificate proves on a route.

use std::sync::Arc;

use model::{
    certificate::authority::{Authority, Holder, Refused},
    id::ApplicationId,
    problem::{Denial, ProblemKind},
    snapshot::Snapshot,
    time::{Now, UtcMicros},
};
use uuid::Uuid;

use super::principal::subject_id;
use crate::{
    certificate::{PeerCertificate, Shown},
    route::Matched,
    runtime::Edge,
};

/// What a client waits before it asks again about a certificate that nobody can judge: a new list comes with a document.
const RETRY_SECONDS: u64 = 30;

/// A certificate that an authority vouches for.
#[derive(Debug, Clone)]
pub struct Certified {
    /// Who vouches.
    pub authority: Arc<Authority>,
    /// For what.
    pub certificate: Arc<PeerCertificate>,
    /// Whom it stands for.
    pub holder: Arc<Holder>,
    /// The same with the authority and the application, as one number: limits are told apart by it. Certificates that follow one another
    /// share it.
    pub subject_id: Uuid,
}

impl Certified {
    /// Until when the word of its authority is good, if nothing changes.
    pub(super) fn until(&self, now: Now) -> UtcMicros {
        let end = self.certificate.facts().ends_after(now.wall);
        self.authority.vouches_until().map_or(end, |until| until.min(end))
    }

    /// The application that it stands for now, if its authority still vouches for it.
    pub(super) fn application(&self, snapshot: &Snapshot, now: Now) -> Option<ApplicationId> {
        let authority = snapshot.structure.authorities.iter().find(|known| known.name() == self.authority.name())?;
        let holder = self.certificate.judge(authority, now).ok()?;
        snapshot.authority.application_ids.get(&*holder.application).copied()
    }
}

/// What became of the certificate of a connection on one way.
#[derive(Debug)]
pub(super) enum Judged<P> {
    /// It holds.
    Holds(P),
    /// There is one, and it does not hold.
    Refused(Refused),
    /// There is none.
    Nothing,
    /// The client could not show any.
    NotAsked,
    /// It is not the client's.
    OfHop,
}

/// Who judges certificates; tests have one of their own.
pub(super) trait Judge {
    /// What a certificate that holds proves.
    type Proof;

    /// Judges the connection's certificate by what these say.
    ///
    /// # Errors
    /// When what is known here about callers is too old to judge.
    fn judge(&self, authorities: &[Arc<Authority>]) -> Result<Judged<Self::Proof>, Denial>;

    /// The refusal of a client whose certificate would have been needed.
    fn refuse(&self, judged: &Judged<Self::Proof>) -> Denial;
}

/// The one who does.
pub(super) struct Here<'h> {
    pub(super) shown: &'h Shown,
    pub(super) matched: &'h Matched<'h>,
    pub(super) edge: &'h Edge,
    pub(super) is_read: bool,
    pub(super) now: Now,
}

impl Judge for Here<'_> {
    type Proof = Arc<Certified>;

    fn judge(&self, authorities: &[Arc<Authority>]) -> Result<Judged<Arc<Certified>>, Denial> {
        let certificate = match self.shown {
            Shown::NotAsked => return Ok(Judged::NotAsked),
            Shown::Nothing => return Ok(Judged::Nothing),
            Shown::OfHop => return Ok(Judged::OfHop),
            Shown::Unreadable(_) => return Ok(Judged::Refused(Refused::Malformed)),
            Shown::Certificate(certificate) => certificate,
        };
        self.edge.lease.check(self.matched.route().keys, self.is_read, self.matched.snapshot(), self.now)?;
        let mut why = Refused::Issuer;
        for authority in authorities {
            match self.by(authority, certificate) {
                Ok(certified) => return Ok(Judged::Holds(Arc::new(certified))),
                Err(Refused::Issuer) => {}
                // An authority's list has the last word, whatever another one says about the same chain.
                Err(last @ (Refused::Revoked | Refused::RevocationUnknown)) => return Ok(Judged::Refused(last)),
                // Of several reasons the one of the authority that knows it is told.
                Err(other) => why = other,
            }
        }
        Ok(Judged::Refused(why))
    }

    /// `credentials-missing` where it has none, `certificate-not-asked` where it could not show one, `revocation-unknown` where only a list that
    /// is not there could tell, `credentials-invalid` whatever else is wrong with the one it has.
    fn refuse(&self, judged: &Judged<Arc<Certified>>) -> Denial {
        let missing = |text| Denial::new(ProblemKind::CredentialsMissing, text);
        match judged {
            Judged::Nothing => missing("connect with a client certificate"),
            Judged::OfHop => missing("connect with a client certificate, and directly: that of a proxy says nothing about its clients"),
            Judged::NotAsked => not_asked(),
            Judged::Refused(why) => self.refused(*why),
            Judged::Holds(_) => invalid(),
        }
    }
}

impl Here<'_> {
    fn refused(&self, why: Refused) -> Denial {
        self.edge.certificates.add(why);
        let thumbprint = self.shown.thumbprint_text();
        let fault = if let Shown::Unreadable(unreadable) = self.shown { Some(&unreadable.fault as &dyn std::error::Error) } else { None };
        tracing::debug!(route = &*self.matched.route().name, thumbprint, reason = why.code(), error = fault, "a client certificate was refused");
        if why == Refused::RevocationUnknown {
            let text = "whether the client certificate was revoked cannot be told right now: there is no current list of its issuer";
            return Denial::new(ProblemKind::RevocationUnknown, text).retry_after(RETRY_SECONDS);
        }
        invalid()
    }

    fn by(&self, authority: &Arc<Authority>, certificate: &Arc<PeerCertificate>) -> Result<Certified, Refused> {
        let holder = certificate.judge(authority, self.now)?;
        let Some(application) = self.matched.snapshot().authority.application_ids.get(&*holder.application) else { return Err(Refused::Stranger) };
        let subject_id = subject_id(*application, authority.name(), &holder.identity);
        Ok(Certified { authority: Arc::clone(authority), certificate: Arc::clone(certificate), holder, subject_id })
    }
}

fn invalid() -> Denial {
    let text = "the client certificate is not accepted; check its issuer, dates and names, and that it was not revoked";
    Denial::new(ProblemKind::CredentialsInvalid, text)
}

/// The refusal of a request on a connection whose handshake did not ask for a certificate.
pub fn not_asked() -> Denial {
    let text = "this connection began without being asked for a client certificate; open one for this host's name, over HTTP/1.1 or HTTP/2";
    Denial::new(ProblemKind::CertificateNotAsked, text)
}
