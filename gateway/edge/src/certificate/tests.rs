use model::{compile::compile, document::Document, time::UtcMicros};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, date_time_ymd};
use serde_json::json;

use super::*;

/// 2026-01-01.
const NOW: Now = Now { boot: BootNanos(5_000_000_000), wall: UtcMicros(1_767_225_600_000_000) };

fn root() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn authority(pem: &str, application: &str) -> Arc<Authority> {
    let document = json!({
        "version": 1, "regions": [{ "name": "eu" }], "tenants": [{ "name": "acme", "hosts": ["api.example"] }],
        "certificate_authorities": [{ "name": "partners", "ca": pem, "application": application }],
    });
    let document: Document = serde_json::from_value(document).unwrap();
    compile(&document).unwrap().authorities.remove(0)
}

#[test]
fn an_authoritys_word_is_kept_a_minute_and_only_its_own() {
    let ours = root();
    let mut params = CertificateParams::default();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.not_after = date_time_ymd(2026, 1, 2);
    let leaf = params.signed_by(&KeyPair::generate().unwrap(), &ours).unwrap().der().clone();
    let Shown::Certificate(shown) = Shown::of(Some(std::slice::from_ref(&leaf))) else { panic!() };
    let (first, foreign) = (authority(&ours.pem(), "web"), authority(&root().pem(), "web"));
    assert_eq!(&*shown.judge(&first, NOW).unwrap().application, "web");
    assert_eq!(shown.judge(&foreign, NOW).unwrap_err(), Refused::Issuer);
    let again = authority(&ours.pem(), "web");
    let before = shown.judge(&first, NOW).unwrap();
    assert!(Shown::of(Some(&[b"garbage".to_vec().into()])).thumbprint_text().is_some_and(|text| text.len() == 43), "the record tells which");
    assert!(Arc::ptr_eq(&shown.judge(&again, NOW).unwrap(), &before), "the same authority after a reload is not asked again");
    assert_eq!(&*shown.judge(&authority(&ours.pem(), "app"), NOW).unwrap().application, "app", "one that says something else is");
    let later = Now { boot: BootNanos(NOW.boot.0 + WORD_KEPT_NANOS + 1), ..NOW };
    assert!(!Arc::ptr_eq(&shown.judge(&again, later).unwrap(), &before), "after a minute it is asked again");
    let over = Now { wall: UtcMicros(NOW.wall.0 + 2 * 86_400_000_000), ..NOW };
    assert_eq!(shown.judge(&again, over).unwrap_err(), Refused::Dates, "the leaf's own dates are looked at each time");
    for n in 0..20 {
        shown.judge(&authority(&ours.pem(), &format!("app{n}")), NOW).unwrap();
    }
    assert!(shown.words.lock().len() <= WORDS_MAX);
}

#[test]
fn what_was_shown_is_told_apart_from_nothing_and_from_garbage() {
    assert!(matches!(Shown::of(None), Shown::Nothing) && matches!(Shown::of(Some(&[])), Shown::Nothing));
    assert!(matches!(Shown::of(Some(&[b"garbage".to_vec().into()])), Shown::Unreadable(_)));
    let leaf = root().der().clone();
    let Shown::Certificate(shown) = Shown::of(Some(std::slice::from_ref(&leaf))) else { panic!() };
    let field = shown.field().unwrap();
    let text = field.to_str().unwrap().strip_prefix(':').unwrap().strip_suffix(':').unwrap();
    assert_eq!(BASE64.decode(text.as_bytes()).unwrap(), leaf.to_vec());
    assert_eq!(BASE64URL_NOPAD.decode(shown.thumbprint_text.as_bytes()).unwrap(), shown.facts().thumbprint().0);
}

#[test]
fn refusals_are_counted_by_reason() {
    let refusals = Refusals::default();
    refusals.add(Refused::Revoked);
    refusals.add(Refused::Revoked);
    let counted: Vec<_> = refusals.counts().filter(|(_, count)| *count > 0).collect();
    assert_eq!(counted, [("revoked", 2)]);
}
