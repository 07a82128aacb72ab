//! Numbers about tokens and their issuers, about client certificates, about signatures, and about keys of other systems.

use std::fmt;

use edge::runtime::Edge;
use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};

/// Writes them all.
///
/// # Errors
/// When the text cannot be written.
#[expect(clippy::cast_precision_loss, reason = "an age of nanoseconds as seconds")]
pub(super) fn encode(edge: &Edge, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    let [refused, offered] = edge.issuers.counts();
    let counter = ConstCounter::new(0_u64);
    let mut family = encoder.encode_descriptor("causeway_tokens_refused", "Tokens refused, by reason", None, counter.metric_type())?;
    for (reason, count) in refused {
        ConstCounter::new(count).encode(family.encode_family(&[("reason", reason)])?)?;
    }
    let help = "Tokens that got their callers in: known from a request before, or verified";
    let mut family = encoder.encode_descriptor("causeway_tokens_taken", help, None, counter.metric_type())?;
    for (how, count) in edge.issuers.verdicts.counts() {
        ConstCounter::new(count).encode(family.encode_family(&[("how", how)])?)?;
    }
    let help = "Keys that tokens offered in their headers, all ignored, by kind";
    let mut family = encoder.encode_descriptor("causeway_token_keys_offered", help, None, counter.metric_type())?;
    for (kind, count) in offered {
        ConstCounter::new(count).encode(family.encode_family(&[("kind", kind)])?)?;
    }
    let help = "Client certificates refused, by reason";
    let mut family = encoder.encode_descriptor("causeway_certificates_refused", help, None, counter.metric_type())?;
    for (reason, count) in edge.certificates.counts() {
        ConstCounter::new(count).encode(family.encode_family(&[("reason", reason)])?)?;
    }
    let help = "Signatures over requests that were refused, by reason";
    let mut family = encoder.encode_descriptor("causeway_signatures_refused", help, None, counter.metric_type())?;
    for (reason, count) in edge.signatures.refused() {
        ConstCounter::new(count).encode(family.encode_family(&[("reason", reason)])?)?;
    }
    let help = "Signatures over requests that held";
    let taken = encoder.encode_descriptor("causeway_signatures_taken", help, None, counter.metric_type())?;
    ConstCounter::new(edge.signatures.taken()).encode(taken)?;
    let help = "Texts that were verified against bcrypt hashes of another system (right, wrong), and requests that had to come again (busy)";
    let mut family = encoder.encode_descriptor("causeway_bcrypt_verifications", help, None, counter.metric_type())?;
    for (outcome, count) in edge.proving.counts() {
        ConstCounter::new(count).encode(family.encode_family(&[("outcome", outcome)])?)?;
    }
    revocation_lists(edge, encoder)?;
    let mut issuers = edge.issuers.view();
    issuers.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    let mut family =
        encoder.encode_descriptor("causeway_issuer_fetches", "Fetches of key sets, by issuer and outcome", None, counter.metric_type())?;
    for (name, known) in &issuers {
        for (outcome, count) in ["ok", "failed"].into_iter().zip(known.fetches()) {
            ConstCounter::new(count).encode(family.encode_family(&[("issuer", &**name), ("outcome", outcome)])?)?;
        }
    }
    let help = "Questions about tokens, by issuer and outcome";
    let mut family = encoder.encode_descriptor("causeway_introspections", help, None, counter.metric_type())?;
    for (name, counts) in edge.issuers.introspections.counts() {
        for (outcome, count) in counts {
            ConstCounter::new(count).encode(family.encode_family(&[("issuer", &*name), ("outcome", outcome)])?)?;
        }
    }
    let gauge = ConstGauge::new(0_i64);
    let mut family = encoder.encode_descriptor("causeway_issuer_keys", "Keys that can be used, by issuer", None, gauge.metric_type())?;
    for (name, known) in &issuers {
        let keys = known.keys().map_or(0, |fetched| fetched.keys.n_usable());
        ConstGauge::new(i64::try_from(keys).unwrap_or(i64::MAX)).encode(family.encode_family(&[("issuer", &**name)])?)?;
    }
    let gauge = ConstGauge::new(0.0_f64);
    let help = "Age of the key set in use, by issuer; -1 before the first";
    let mut family = encoder.encode_descriptor("causeway_issuer_age_seconds", help, None, gauge.metric_type())?;
    let now = edge.clock.boot();
    for (name, known) in &issuers {
        let age = known.keys().map_or(-1.0, |fetched| now.nanos_since(fetched.at) as f64 / 1e9);
        ConstGauge::new(age).encode(family.encode_family(&[("issuer", &**name)])?)?;
    }
    Ok(())
}

/// When the first revocation list of each authority ought to have been replaced: from then on its certificates are refused, unless the
/// document says otherwise.
fn revocation_lists(edge: &Edge, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
    let gauge = ConstGauge::new(0_i64);
    let help = "When the first revocation list of an authority ends, in seconds since 1970";
    let mut family = encoder.encode_descriptor("causeway_certificate_authority_crl_end_seconds", help, None, gauge.metric_type())?;
    let Some(snapshot) = edge.current.load() else { return Ok(()) };
    for authority in &snapshot.structure.authorities {
        if let Some(end) = authority.crls_end() {
            ConstGauge::new(end.0 / 1_000_000).encode(family.encode_family(&[("authority", &**authority.name())])?)?;
        }
    }
    Ok(())
}
