use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber, SigningKey, date_time_ymd,
};
use rustls_pki_types::CertificateDer;
use serde_json::{Value, json};

use super::{Authority, Refused};
use crate::{certificate::ClientCertificate, compile::compile, document::Document, time::UtcMicros};

type Ca = CertifiedIssuer<'static, KeyPair>;

/// 2026-01-01.
const NOW: UtcMicros = UtcMicros(1_767_225_600_000_000);

fn ca_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn root(name: &str) -> Ca {
    CertifiedIssuer::self_signed(ca_params(name), KeyPair::generate().unwrap()).unwrap()
}

fn below(name: &str, above: &Ca) -> Ca {
    CertifiedIssuer::signed_by(ca_params(name), KeyPair::generate().unwrap(), above).unwrap()
}

fn leaf(issuer: &Ca, serial: u64, change: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
    let mut params = CertificateParams::default();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.serial_number = Some(SerialNumber::from(serial));
    params.subject_alt_names = vec![SanType::DnsName("billing.example".try_into().unwrap())];
    change(&mut params);
    params.signed_by(&KeyPair::generate().unwrap(), issuer).unwrap().der().clone()
}

fn crl<S: SigningKey>(issuer: &Issuer<'_, S>, until_year: i32, serials: &[u64]) -> String {
    let revoked = |serial: &u64| RevokedCertParams {
        serial_number: SerialNumber::from(*serial),
        revocation_time: date_time_ymd(2025, 6, 1),
        reason_code: None,
        invalidity_date: None,
    };
    let params = CertificateRevocationListParams {
        this_update: date_time_ymd(2024, 1, 1),
        next_update: date_time_ymd(until_year, 1, 1),
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: serials.iter().map(revoked).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(issuer).unwrap().pem().unwrap()
}

fn authority(doc: &Value) -> std::sync::Arc<Authority> {
    let mut all = json!({ "name": "partners", "application": "others" });
    all.as_object_mut().unwrap().extend(doc.as_object().unwrap().clone());
    all.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    let document = json!({
        "version": 1, "regions": [{ "name": "eu" }], "tenants": [{ "name": "acme", "hosts": ["api.example"] }],
        "certificate_authorities": [all], "upstreams": [], "routes": [],
    });
    let document: Document = serde_json::from_value(document).unwrap();
    compile(&document).unwrap().authorities.remove(0)
}

fn verdict(authority: &Authority, chain: &[&CertificateDer<'static>]) -> Result<String, Refused> {
    let certificate = ClientCertificate::read(chain.iter().map(|one| (*one).clone()).collect()).unwrap();
    authority.verify(&certificate, NOW).map(|holder| format!("{} as {}", holder.application, holder.identity))
}

const OTHERS: &str = "others as dns:billing.example";

#[test]
fn a_chain_must_lead_to_a_root_be_for_clients_and_within_its_dates() {
    let (ours, foreign) = (root("root"), root("root"));
    let middle = below("middle", &ours);
    let trusting = authority(&json!({ "ca": ours.pem() }));
    let ok = Ok(OTHERS.to_owned());
    assert_eq!(verdict(&trusting, &[&leaf(&ours, 1, |_| {})]), ok);
    assert_eq!(verdict(&trusting, &[&leaf(&middle, 1, |_| {}), middle.der()]), ok);
    assert_eq!(verdict(&trusting, &[&leaf(&middle, 1, |_| {}), ours.der(), middle.der()]), ok, "in any order");
    assert_eq!(verdict(&trusting, &[&leaf(&ours, 1, |params| params.extended_key_usages.clear())]), ok, "for anything");

    let refused = |why| Err::<String, _>(why);
    assert_eq!(verdict(&trusting, &[&leaf(&middle, 1, |_| {})]), refused(Refused::Issuer), "the one between is missing");
    assert_eq!(verdict(&trusting, &[&leaf(&foreign, 1, |_| {})]), refused(Refused::Issuer), "another root of the same name");
    assert_eq!(verdict(&trusting, &[&leaf(&foreign, 1, |_| {}), foreign.der()]), refused(Refused::Issuer), "which the client brings along");
    let server = leaf(&ours, 1, |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]);
    assert_eq!(verdict(&trusting, &[&server]), refused(Refused::Usage));
    assert_eq!(verdict(&trusting, &[middle.der()]), refused(Refused::Usage), "an authority is no client");
    let fake = leaf(&ours, 2, |params| params.distinguished_name.push(DnType::CommonName, "fake"));
    let fake_signed = leaf(&foreign, 1, |_| {});
    assert_eq!(verdict(&trusting, &[&fake_signed, &fake]), refused(Refused::Issuer), "a leaf signs nothing");
    let dates =
        |from, until| leaf(&ours, 1, |params| (params.not_before, params.not_after) = (date_time_ymd(from, 1, 2), date_time_ymd(until, 1, 1)));
    assert_eq!(verdict(&trusting, &[&dates(2024, 2026)]), ok, "the last second is one of them");
    assert_eq!(verdict(&trusting, &[&dates(2024, 2025)]), refused(Refused::Dates));
    assert_eq!(verdict(&trusting, &[&dates(2026, 2027)]), refused(Refused::Dates));
    let mut old = ca_params("old");
    old.not_after = date_time_ymd(2025, 1, 1);
    let old = CertifiedIssuer::signed_by(old, KeyPair::generate().unwrap(), &ours).unwrap();
    assert_eq!(verdict(&trusting, &[&leaf(&old, 1, |_| {}), old.der()]), refused(Refused::Dates), "of the one between");
}

#[test]
fn what_is_revoked_or_cannot_be_looked_up_is_refused() {
    let ours = root("root");
    let middle = below("middle", &ours);
    let foreign = root("root");
    let (good, bad) = (leaf(&ours, 1, |_| {}), leaf(&ours, 2, |_| {}));
    let of = |crls: &[String], more: Value| {
        let mut doc = json!({ "ca": ours.pem(), "crls": crls.concat() });
        doc.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        authority(&doc)
    };
    let refused = |why| Err::<String, _>(why);
    let ok = Ok(OTHERS.to_owned());
    let current = of(&[crl(&ours, 2027, &[2])], json!({}));
    assert_eq!((verdict(&current, &[&good]), verdict(&current, &[&bad])), (ok.clone(), refused(Refused::Revoked)));
    assert_eq!(current.crls_end(), Some(UtcMicros(1_798_761_600_000_000)));
    let below_middle = leaf(&middle, 2, |_| {});
    assert_eq!(verdict(&current, &[&below_middle, middle.der()]), refused(Refused::RevocationUnknown), "there is no list of that issuer");
    let both = of(&[crl(&ours, 2027, &[]), crl(&middle, 2027, &[7])], json!({}));
    assert_eq!(verdict(&both, &[&below_middle, middle.der()]), ok);
    assert_eq!(verdict(&both, &[&leaf(&middle, 7, |_| {}), middle.der()]), refused(Refused::Revoked));

    let late = of(&[crl(&ours, 2025, &[2])], json!({}));
    assert_eq!(verdict(&late, &[&good]), refused(Refused::RevocationUnknown), "who knows what happened since");
    let lenient = of(&[crl(&ours, 2025, &[2])], json!({ "expired_crls": "allow" }));
    assert_eq!((verdict(&lenient, &[&good]), verdict(&lenient, &[&bad])), (ok.clone(), refused(Refused::Revoked)));
    let forged = of(&[crl(&foreign, 2027, &[])], json!({}));
    assert_eq!(verdict(&forged, &[&good]), refused(Refused::RevocationUnknown), "a list by another of the same name");

    let mut revoked = ca_params("gone");
    revoked.serial_number = Some(SerialNumber::from(9_u64));
    let gone = CertifiedIssuer::signed_by(revoked, KeyPair::generate().unwrap(), &ours).unwrap();
    let lists = [crl(&ours, 2027, &[9]), crl(&gone, 2027, &[])];
    let child = leaf(&gone, 1, |_| {});
    assert_eq!(verdict(&of(&lists, json!({})), &[&child, gone.der()]), refused(Refused::Revoked), "the one between");
    assert_eq!(verdict(&of(&lists, json!({ "crl_depth": "leaf" })), &[&child, gone.der()]), ok, "where only leaves are looked up");
}

#[test]
fn a_certificate_stands_for_one_application_or_for_nobody() {
    let ours = root("root");
    let named = |names: &[&str]| {
        let names = names.iter().map(|name| match name.split_once(':') {
            Some(("uri", rest)) => SanType::URI(rest.try_into().unwrap()),
            Some(("email", rest)) => SanType::Rfc822Name(rest.try_into().unwrap()),
            _ => SanType::DnsName((*name).try_into().unwrap()),
        });
        leaf(&ours, 1, |params| {
            params.subject_alt_names = names.collect();
            params.distinguished_name = rcgen::DistinguishedName::new();
            params.distinguished_name.push(DnType::CommonName, "the subject");
        })
    };
    let pinned = named(&["billing.example"]);
    let print = ClientCertificate::read(vec![pinned.clone()]).unwrap().thumbprint().to_string();
    let clients = json!([
        { "application": "billing", "dns": "BILLING.example" },
        { "application": "billing", "uri": "spiffe://prod/billing" },
        { "application": "ops", "email": "ops@example" },
        { "application": "pinned", "thumbprint": print },
    ]);
    let strict = authority(&json!({ "ca": ours.pem(), "application": null, "clients": clients }));
    let of = |names: &[&str]| verdict(&strict, &[&named(names)]);
    assert_eq!(of(&["billing.example"]).unwrap(), "billing as dns:billing.example");
    assert_eq!(of(&["x.example", "uri:spiffe://prod/billing"]).unwrap(), "billing as uri:spiffe://prod/billing");
    assert_eq!(of(&["uri:spiffe://prod/billing", "billing.example"]).unwrap(), "billing as uri:spiffe://prod/billing", "two names of one");
    assert_eq!(of(&["billing.example", "email:ops@example"]), Err(Refused::Ambiguous));
    assert_eq!(of(&["uri:spiffe://prod/Billing"]), Err(Refused::Stranger), "a URI is compared byte by byte");
    assert_eq!(of(&["sub.billing.example", "*.example"]), Err(Refused::Stranger));
    assert_eq!(verdict(&strict, &[&pinned]).unwrap(), "pinned as dns:billing.example", "a thumbprint says most");
    let open = authority(&json!({ "ca": ours.pem(), "clients": clients }));
    assert_eq!(verdict(&open, &[&named(&[])]).unwrap(), "others as CN=the subject");

    let alone = authority(&json!({ "application": null, "clients": [{ "application": "pinned", "thumbprint": print }] }));
    assert_eq!(verdict(&alone, &[&pinned]).unwrap(), "pinned as dns:billing.example", "whoever signed it");
    assert_eq!(verdict(&alone, &[&named(&["billing.example"])]), Err(Refused::Stranger));
}
