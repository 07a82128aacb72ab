//! Requests that gateways send round in a circle: each says in `Via` where a request has been (RFC 9110 section 7.6.3), and refuses one that
//! comes by again and again.

use http::{HeaderValue, Version, header};
use model::{
    hops,
    problem::{Denial, ProblemKind},
    structure::Structure,
};

use crate::head::Head;

/// What this region's gateways say in `Via`, for each version in which they get a request.
#[derive(Debug, Clone)]
pub struct Via([HeaderValue; 4]);

impl Via {
    pub(crate) fn new(region: &str, deployment: &str) -> Self {
        let name = hops::pseudonym(region, deployment);
        // Names of regions are letters, digits and hyphens.
        Self(["1.0", "1.1", "2", "3"].map(|version| {
            HeaderValue::from_maybe_shared(bytes::Bytes::from(format!("{version} {name}"))).unwrap_or(HeaderValue::from_static("1.1 causeway"))
        }))
    }

    /// The value for a request that came in a version.
    pub fn of(&self, version: Version) -> &HeaderValue {
        let Self([zero, one, two, three]) = self;
        match version {
            Version::HTTP_10 => zero,
            Version::HTTP_2 => two,
            Version::HTTP_3 => three,
            _ => one,
        }
    }
}

/// Refuses a request that has been in this region, or in all of them together, too often.
///
/// # Errors
/// `loop-detected`.
pub(crate) fn check(head: &Head, structure: &Structure, region: &str) -> Result<(), Denial> {
    let mut fields = head.parts.headers.get_all(header::VIA).iter().peekable();
    if fields.peek().is_some() && hops::is_loop(fields.map(HeaderValue::as_bytes), region, &structure.deployment) {
        let detail = "this request comes by again and again: a service's target leads back to the gateways; see the Via field";
        return Err(Denial::new(ProblemKind::LoopDetected, detail));
    }
    Ok(())
}
