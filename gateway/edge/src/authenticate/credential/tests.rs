use std::{cell::Cell, sync::Arc};

use model::{
    certificate::authority::{Authority, Refused},
    structure::identity::Credential,
};

use super::*;

const KEY: (&str, &str) = ("x-api-key", "cw_live_abc");
const BEARER_KEY: (&str, &str) = ("authorization", "Bearer cw_live_abc");
const DPOP_TOKEN: (&str, &str) = ("authorization", "dPoP eyJ.e30.sig");
const PROOF: (&str, &str) = ("dpop", "eyJ.e30.proof");
const TOKEN: (&str, &str) = ("authorization", "bearer eyJ.e30.sig");

fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
    fields.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
}

fn way(key: bool, token: bool) -> Way {
    with(key, token, false)
}

fn with(key: bool, token: bool, certificate: bool) -> Way {
    let key = key.then_some(Credential::Key);
    let token = token.then(|| Credential::Token(Box::default()));
    let certificate = certificate.then(|| Credential::Certificate(Box::default()));
    Way(key.into_iter().chain(token).chain(certificate).collect())
}

/// Says of every certificate the same.
struct Always(fn() -> Judged<()>, Cell<u32>);

impl Judge for Always {
    type Proof = ();

    fn judge(&self, _: &[Arc<Authority>]) -> Result<Judged<()>, Denial> {
        self.1.set(self.1.get() + 1);
        Ok(self.0())
    }

    fn refuse(&self, judged: &Judged<()>) -> Denial {
        let kind = match judged {
            Judged::Nothing | Judged::OfHop => ProblemKind::CredentialsMissing,
            Judged::NotAsked => ProblemKind::CertificateNotAsked,
            Judged::Holds(()) | Judged::Refused(_) => ProblemKind::CredentialsInvalid,
        };
        Denial::new(kind, "as told")
    }
}

fn never() -> Always {
    Always(|| Judged::NotAsked, Cell::default())
}

/// Which way is chosen, or the kind of the refusal.
fn chosen(ways: &[Way], fields: &[(&'static str, &str)]) -> Result<usize, ProblemKind> {
    let headers = headers(fields);
    let way = Credentials::read(&headers, ways).and_then(|credentials| credentials.choose(ways, &never())).map_err(|denial| denial.kind)?.way;
    Ok(ways.iter().position(|other| std::ptr::eq(other, way)).unwrap())
}

#[test]
fn the_kinds_of_credentials_choose_the_way() {
    use ProblemKind::{CredentialsInvalid as Invalid, CredentialsMissing as Missing};
    let (any, both, token) = ([way(true, false), way(false, true)], [way(true, true)], [way(false, true)]);
    let all = [way(true, false), way(false, true), way(true, true)];
    for (ways, fields, expected) in [
        (&any[..], &[KEY][..], Ok(0)),
        (&any, &[BEARER_KEY], Ok(0)),
        (&any, &[TOKEN], Ok(1)),
        (&any, &[], Err(Missing)),
        (&any, &[KEY, TOKEN], Err(Invalid)),
        (&any, &[KEY, BEARER_KEY], Err(Invalid)),
        (&both, &[KEY, TOKEN], Ok(0)),
        (&both, &[KEY], Err(Missing)),
        (&both, &[BEARER_KEY], Err(Missing)),
        (&both, &[TOKEN], Err(Missing)),
        (&both, &[], Err(Missing)),
        (&both, &[TOKEN, BEARER_KEY], Err(Invalid)),
        (&both, &[BEARER_KEY, TOKEN], Err(Invalid)),
        (&token, &[TOKEN], Ok(0)),
        (&token, &[KEY], Err(Invalid)),
        (&token, &[KEY, TOKEN], Err(Invalid)),
        (&token, &[TOKEN, TOKEN], Err(Invalid)),
        (&token, &[("authorization", "Basic YTpi")], Err(Invalid)),
        (&token, &[DPOP_TOKEN], Ok(0)),
        (&token, &[DPOP_TOKEN, PROOF], Ok(0)),
        (&token, &[DPOP_TOKEN, PROOF, PROOF], Err(Invalid)),
        (&token, &[DPOP_TOKEN, TOKEN, PROOF], Err(Invalid)),
        (&both, &[DPOP_TOKEN, PROOF, KEY], Ok(0)),
        (&any, &[("authorization", "DPoP cw_live_abc"), PROOF], Err(Invalid)),
        (&any, &[PROOF], Err(Missing)),
        (&token, &[("authorization", "eyJ.e30.sig")], Err(Invalid)),
        (&token, &[("authorization", "")], Err(Invalid)),
        (&all, &[KEY, TOKEN], Ok(2)),
        (&all, &[KEY, KEY], Err(Invalid)),
    ] {
        assert_eq!(chosen(ways, fields), expected, "{fields:?}");
    }
}

#[test]
fn a_signature_counts_where_the_route_takes_signatures() {
    use ProblemKind::{CredentialsInvalid as Invalid, CredentialsMissing as Missing};
    const SIGNATURE: (&str, &str) = ("signature", "sig=:AQ==:");
    const INPUT: (&str, &str) = ("signature-input", "sig=()");
    let signed = |key: bool| {
        let signers = std::collections::HashMap::new();
        let rules = model::signature::rule::Rules {
            components: Box::default(),
            age_seconds_max: 60,
            digest: model::signature::rule::Need::Required,
            nonce: model::signature::rule::Need::Optional,
            tag: None,
        };
        let rule = model::structure::identity::SignatureRule { signers, rules: Arc::new(rules) };
        let key = key.then_some(Credential::Key);
        Way(key.into_iter().chain([Credential::Signature(Box::new(rule))]).collect())
    };
    let (alone, both, any, keys) = ([signed(false)], [signed(true)], [way(true, false), signed(false)], [way(true, false), way(false, true)]);
    for (ways, fields, expected) in [
        (&alone[..], &[SIGNATURE, INPUT][..], Ok(0)),
        (&alone, &[INPUT], Ok(0)),
        (&alone, &[SIGNATURE], Ok(0)),
        (&alone, &[], Err(Missing)),
        (&alone, &[KEY], Err(Invalid)),
        (&alone, &[KEY, SIGNATURE], Err(Invalid)),
        (&both, &[KEY, SIGNATURE], Ok(0)),
        (&both, &[KEY], Err(Missing)),
        (&both, &[SIGNATURE], Err(Missing)),
        (&any, &[SIGNATURE], Ok(1)),
        (&any, &[KEY], Ok(0)),
        (&any, &[KEY, SIGNATURE], Err(Invalid)),
        (&any, &[], Err(Missing)),
        (&keys, &[KEY, SIGNATURE, INPUT], Ok(0)),
    ] {
        assert_eq!(chosen(ways, fields), expected, "{fields:?}");
    }
}

#[test]
fn a_proof_comes_with_the_scheme_that_asks_for_one() {
    for (fields, expected) in [
        (&[TOKEN][..], Scheme::Bearer),
        (&[TOKEN, PROOF], Scheme::Bearer),
        (&[DPOP_TOKEN], Scheme::Dpop(None)),
        (&[DPOP_TOKEN, ("dpop", "é")], Scheme::Dpop(None)),
        (&[DPOP_TOKEN, PROOF], Scheme::Dpop(Some(PROOF.1))),
    ] {
        let headers = headers(fields);
        assert_eq!(Credentials::read(&headers, &[]).unwrap().token, Some(("eyJ.e30.sig", expected)), "{fields:?}");
        assert_eq!(is_dpop(&headers), expected != Scheme::Bearer);
    }
    let twice = headers(&[DPOP_TOKEN, PROOF, PROOF]);
    assert_eq!(Credentials::read(&twice, &[]).unwrap_err().challenge, Challenge::DpopProof);
    assert_eq!(only_key(&headers(&[("authorization", "DPoP cw_live_abc")])).unwrap_err().kind, ProblemKind::CredentialsInvalid);
}

#[test]
fn what_is_missing_is_told_in_words_that_help() {
    let said = |ways: &[Way], fields: &[(&'static str, &str)]| {
        let headers = headers(fields);
        Credentials::read(&headers, ways).unwrap().choose(ways, &never()).map(drop).unwrap_err().detail.into_owned()
    };
    let (any, both) = ([way(true, false), way(false, true)], [way(true, true)]);

    assert!(said(&both, &[TOKEN]).contains("send an API key in X-Api-Key, too"));
    assert!(said(&both, &[KEY]).contains("send a token as Authorization: Bearer, too"));
    assert!(said(&both, &[]).contains("an API key in X-Api-Key, and a token"));
    assert!(said(&any, &[]).contains("one of the credentials"));
    assert!(said(&[way(false, true)], &[]).contains("send a token"));
    assert!(said(&[way(true, false)], &[]).contains("send an API key"));
}

#[test]
fn a_certificate_goes_before_and_never_stands_in_the_way_of_what_needs_none() {
    use ProblemKind::{CertificateNotAsked as NotAsked, CredentialsInvalid as Invalid, CredentialsMissing as Missing};
    type Says = fn() -> Judged<()>;
    let (holds, refused, nothing): (Says, Says, Says) = (|| Judged::Holds(()), || Judged::Refused(Refused::Issuer), || Judged::Nothing);
    let (not_asked, of_hop): (Says, Says) = (|| Judged::NotAsked, || Judged::OfHop);
    let alone = [with(false, false, true)];
    let or_key = [way(true, false), with(false, false, true)];
    let and_key = [with(true, false, true)];
    let key_or_both = [way(true, false), with(true, false, true)];
    for (ways, fields, says, expected) in [
        (&alone[..], &[][..], holds, Ok((0, true))),
        (&alone, &[], refused, Err(Invalid)),
        (&alone, &[], nothing, Err(Missing)),
        (&alone, &[], not_asked, Err(NotAsked)),
        (&alone, &[], of_hop, Err(Missing)),
        (&alone, &[KEY], holds, Err(Invalid)),
        (&or_key, &[], holds, Ok((1, true))),
        (&or_key, &[KEY], holds, Ok((0, false))),
        (&or_key, &[KEY], refused, Ok((0, false))),
        (&or_key, &[], refused, Err(Invalid)),
        (&or_key, &[], nothing, Err(Missing)),
        (&or_key, &[], not_asked, Err(NotAsked)),
        (&or_key, &[TOKEN], holds, Err(Invalid)),
        (&and_key, &[KEY], holds, Ok((0, true))),
        (&and_key, &[KEY], refused, Err(Invalid)),
        (&and_key, &[KEY], nothing, Err(Missing)),
        (&and_key, &[], holds, Err(Missing)),
        (&key_or_both, &[KEY], holds, Ok((1, true))),
        (&key_or_both, &[KEY], refused, Ok((0, false))),
        (&key_or_both, &[KEY], not_asked, Ok((0, false))),
        (&key_or_both, &[], holds, Err(Missing)),
    ] {
        let headers = headers(fields);
        let judge = Always(says, Cell::default());
        let chosen = Credentials::read(&headers, ways).and_then(|credentials| credentials.choose(ways, &judge));
        let position = |way: &Way| ways.iter().position(|other| std::ptr::eq(other, way)).unwrap();
        let got = chosen.map(|chosen| (position(chosen.way), chosen.certificate.is_some())).map_err(|denial| denial.kind);
        assert_eq!(got, expected, "{fields:?} of {} ways, {:?}", ways.len(), says());
        assert!(judge.1.get() <= 1, "asked once");
    }
}
