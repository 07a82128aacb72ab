//! How gateways know that a request has been with them before: each signs `Via` (RFC 9110 section 7.6.3) with a name that tells its
//! deployment and its region.

use aws_lc_rs::digest;

use crate::document::Document;

/// So often a request may come by the same region. More than once, because a service may pass a request on to the gateway it came from.
pub const VISITS_MAX: usize = 3;
/// So often it may come by any region of a deployment.
pub const HOPS_MAX: usize = 8;

/// The part of a gateway's name that tells deployments apart whose regions have the same names.
///
/// Of the regions and hosts, so that all nodes come to the same without being told one. While a document is taken that changes them, a
/// circle may go on for a few rounds more.
pub fn deployment(document: &Document) -> Box<str> {
    let mut context = digest::Context::new(&digest::SHA256);
    let regions = document.regions.iter().map(|doc| doc.name.as_str());
    let gateways = document.regions.iter().filter_map(|doc| doc.gateway.as_ref()).map(url::Url::as_str);
    let hosts = document.tenants.iter().flat_map(|doc| &doc.hosts).map(ToString::to_string);
    for part in regions.chain(gateways).map(str::to_owned).chain(hosts) {
        context.update(part.as_bytes());
        context.update(b"\0");
    }
    let digest = context.finish();
    let first = digest.as_ref().first_chunk().copied().unwrap_or([0; 4]);
    format!("{:08x}", u32::from_be_bytes(first)).into()
}

/// The name of the gateways of a region in `Via`.
pub fn pseudonym(region: &str, deployment: &str) -> String {
    format!("causeway-{region}-{deployment}")
}

/// Whether a request that has these `Via` fields has been round often enough.
pub fn is_loop<V: AsRef<[u8]>>(fields: impl Iterator<Item = V>, region: &str, deployment: &str) -> bool {
    let (mut here, mut all) = (0, 0);
    for field in fields {
        for member in field.as_ref().split(|byte| *byte == b',') {
            // Protocol, white space, name; a comment may follow.
            let mut words = member.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
            let name = words.nth(1).and_then(|name| name.strip_prefix(b"causeway-"));
            let Some(visited) = name.and_then(|rest| rest.strip_suffix(deployment.as_bytes())?.strip_suffix(b"-")) else { continue };
            all += 1;
            here += usize::from(visited == region.as_bytes());
        }
    }
    here >= VISITS_MAX || all >= HOPS_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_loop_of(fields: &[&str]) -> bool {
        is_loop(fields.iter().map(|field| field.as_bytes()), "eu-west", "0a1b2c3d")
    }

    #[test]
    fn a_request_that_comes_by_again_and_again_is_a_loop_and_nobody_elses_gateways_count() {
        let here = "1.1 causeway-eu-west-0a1b2c3d";
        let there = "2 causeway-us-east-0a1b2c3d";
        assert!(!is_loop_of(&[]) && !is_loop_of(&[here, there, here]));
        assert!(is_loop_of(&[here, here, here]));
        assert!(is_loop_of(&[&format!("{here}, {there} (a, comment),\t{here}"), "1.0 fred", here]));
        assert!(is_loop_of(&[there; HOPS_MAX]) && !is_loop_of(&[there; HOPS_MAX - 1]));
        for foreign in
            ["1.1 causeway-eu-west-ffffffff", "1.1 causeway", "1.1 eu-west", "causeway-eu-west-0a1b2c3d", "1.1 causeway-eu-west-0a1b2c3d8", ""]
        {
            assert!(!is_loop_of(&[foreign; 20]), "{foreign}");
        }
    }
}
