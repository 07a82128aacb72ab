//! What a client's certificate proves on a route.

use std::sync::Arc;

use aws_lc_rs::digest;
use model::{
    certificate::authority::{Authority, Holder, Refused},
    id::ApplicationId,
    problem::{Denial, ProblemKind},
    snapshot::Snapshot,
    time::Now,
};
use uuid::Uuid;

use crate::{
    certificate::{PeerCertificate, Shown},
    runtime::Edge,
};

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
    Refused,
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
    fn judge(&self, authorities: &[Arc<Authority>]) -> Judged<Self::Proof>;
}

/// The one who does.
pub(super) struct Here<'h> {
    pub(super) shown: &'h Shown,
    pub(super) snapshot: &'h Snapshot,
    pub(super) edge: &'h Edge,
    pub(super) now: Now,
}

impl Judge for Here<'_> {
    type Proof = Arc<Certified>;

    fn judge(&self, authorities: &[Arc<Authority>]) -> Judged<Arc<Certified>> {
        let certificate = match self.shown {
            Shown::NotAsked => return Judged::NotAsked,
            Shown::Nothing => return Judged::Nothing,
            Shown::OfHop => return Judged::OfHop,
            Shown::Certificate(certificate) => certificate,
            Shown::Unreadable => {
                self.edge.certificates.add(Refused::Malformed);
                return Judged::Refused;
            }
        };
        let mut why = Refused::Issuer;
        for authority in authorities {
            match self.by(authority, certificate) {
                Ok(certified) => return Judged::Holds(Arc::new(certified)),
                // Of several reasons the one of the authority that knows it is told.
                Err(Refused::Issuer) => {}
                Err(other) => why = other,
            }
        }
        self.edge.certificates.add(why);
        tracing::debug!(thumbprint = %certificate.facts().thumbprint(), reason = why.code(), "a client certificate was refused");
        Judged::Refused
    }
}

impl Here<'_> {
    fn by(&self, authority: &Arc<Authority>, certificate: &Arc<PeerCertificate>) -> Result<Certified, Refused> {
        let holder = certificate.judge(authority, self.now)?;
        let Some(application) = self.snapshot.authority.application_ids.get(&*holder.application) else { return Err(Refused::Stranger) };
        let subject_id = subject_id(*application, authority.name(), &holder.identity);
        Ok(Certified { authority: Arc::clone(authority), certificate: Arc::clone(certificate), holder, subject_id })
    }
}

/// One number for what a certificate is known by, in an application and by an authority. None of the texts can hold a NUL.
fn subject_id(application: ApplicationId, authority: &str, identity: &str) -> Uuid {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in [application.uuid().as_bytes(), authority.as_bytes(), b"\0", identity.as_bytes()] as [&[u8]; 4] {
        context.update(part);
    }
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    Uuid::from_bytes(bytes)
}

/// The refusal of a client whose certificate would have been needed.
///
/// `credentials-missing` where it has none, `certificate-not-asked` where it could not show one, `credentials-invalid` whatever is wrong
/// with the one it has.
pub(super) fn refused<P>(judged: &Judged<P>) -> Denial {
    match judged {
        Judged::Nothing => Denial::new(ProblemKind::CredentialsMissing, "connect with a client certificate"),
        Judged::OfHop => Denial::new(
            ProblemKind::CredentialsMissing,
            "connect with a client certificate, and directly: that of a proxy says nothing about its clients",
        ),
        Judged::NotAsked => not_asked(),
        Judged::Refused | Judged::Holds(_) => {
            let text = "the client certificate is not accepted; check its issuer, dates and names, and that it was not revoked";
            Denial::new(ProblemKind::CredentialsInvalid, text)
        }
    }
}

/// The refusal of a request on a connection whose handshake did not ask for a certificate.
pub(super) fn not_asked() -> Denial {
    let text = "this connection began without being asked for a client certificate; open one for this host's name, over HTTP/1.1 or HTTP/2";
    Denial::new(ProblemKind::CertificateNotAsked, text)
}
