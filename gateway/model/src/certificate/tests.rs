use proptest::prelude::*;
use rcgen::{CertificateParams, KeyPair, SanType, string::Ia5String};
use rustls_pki_types::CertificateDer;

use super::{CertificateFault, ClientCertificate, Name, Thumbprint};

fn leaf(names: Vec<SanType>) -> CertificateDer<'static> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = names;
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
}

fn text(text: &str) -> Ia5String {
    text.try_into().unwrap()
}

#[test]
fn names_are_read_as_they_stand_and_hosts_in_lower_case() {
    let der = leaf(vec![
        SanType::DnsName(text("Billing.Partner.Example")),
        SanType::URI(text("spiffe://prod.example/ns/Billing")),
        SanType::Rfc822Name(text("Ops@partner.example")),
        SanType::IpAddress("192.0.2.1".parse().unwrap()),
    ]);
    let read = ClientCertificate::read(vec![der.clone()]).unwrap();
    let expected = [
        Name::Dns("billing.partner.example".into()),
        Name::Uri("spiffe://prod.example/ns/Billing".into()),
        Name::Email("Ops@partner.example".into()),
    ];
    assert_eq!(read.names(), expected);
    assert_eq!(read.thumbprint(), Thumbprint::of(&der));
    assert_eq!(read.leaf(), &*der);
    assert_eq!(expected.map(|name| name.to_string())[1], "uri:spiffe://prod.example/ns/Billing");
    assert!(!format!("{read:?}").contains("billing"), "names of holders stay out of logs");
}

#[test]
fn what_is_too_large_or_no_certificate_is_refused() {
    let good = leaf(Vec::new());
    let fault = |chain: Vec<CertificateDer<'static>>| ClientCertificate::read(chain).unwrap_err();
    assert_eq!(fault(Vec::new()), CertificateFault::Empty);
    assert_eq!(fault(vec![good.clone(); 9]), CertificateFault::Large);
    assert_eq!(fault(vec![good.clone(), vec![0; (16 << 10) + 1].into()]), CertificateFault::Large);
    assert_eq!(fault(vec![b"garbage".to_vec().into()]), CertificateFault::Leaf);
    assert_eq!(fault(vec![[&*good, b"more"].concat().into()]), CertificateFault::Leaf);
    assert_eq!(fault(vec![leaf((0..65).map(|n| SanType::DnsName(text(&format!("h{n}.example")))).collect())]), CertificateFault::Names);
    for name in [" spaced.example", "", "tab\t.example", "nul\0.example"] {
        assert_eq!(fault(vec![leaf(vec![SanType::DnsName(text(name))])]), CertificateFault::Names, "{name:?}");
    }
    assert_eq!(fault(vec![leaf(vec![SanType::URI(text(&"u".repeat(1_025)))])]), CertificateFault::Names);
}

#[test]
fn a_chain_has_one_candidate_for_each_step() {
    let named = |name: &str| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    };
    let read = |names: &[&str]| ClientCertificate::read(names.iter().map(|name| named(name)).collect());
    assert!(read(&["leaf", "middle", "root"]).is_ok());
    for names in [&["leaf", "root", "root"][..], &["root", "root"], &["leaf", "middle", "leaf"]] {
        assert_eq!(read(names).unwrap_err(), CertificateFault::Chain, "{names:?}");
    }
    assert_eq!(ClientCertificate::read(vec![named("leaf"), b"garbage".to_vec().into()]).unwrap_err(), CertificateFault::Chain);
}

#[test]
fn a_subject_is_written_in_one_way_or_not_at_all() {
    use rcgen::DnType::{CommonName as Cn, OrganizationName as O};
    let subject = |parts: &[(rcgen::DnType, &str)]| {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, value) in parts {
            params.distinguished_name.push(kind.clone(), *value);
        }
        let der = params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone();
        let read = ClientCertificate::read(vec![der]).unwrap();
        let print = format!("sha256:{}", read.thumbprint());
        if read.subject() == print { "thumbprint".to_owned() } else { read.subject().to_owned() }
    };
    assert_eq!(subject(&[(Cn, "a"), (O, "b")]), "CN=a,O=b");
    assert_eq!(subject(&[(Cn, "a,O=b")]), r"CN=a\,O\=b");
    assert_eq!(subject(&[(Cn, r#" x"y\z+<>; "#)]), r#"CN=\ x\"y\\z\+\<\>\;\ "#);
    assert_eq!(subject(&[(Cn, "#a")]), r"CN=\#a");
    assert_eq!(subject(&[(Cn, "z\u{fc}rich")]), "CN=z\u{fc}rich");
    for cannot in [&[][..], &[(Cn, "a\nb")], &[(Cn, &*"x".repeat(1_100))]] {
        assert_eq!(subject(cannot), "thumbprint", "{cannot:?}");
    }
}

#[test]
fn thumbprints_are_read_with_and_without_colons() {
    let digits = "00112233445566778899AABBCCDDEEFF00112233445566778899aabbccddeeff";
    let parsed = Thumbprint::parse(digits).unwrap();
    let colons: Vec<String> = digits.as_bytes().chunks(2).map(|pair| String::from_utf8(pair.to_vec()).unwrap()).collect();
    assert_eq!(Thumbprint::parse(&colons.join(":")), Some(parsed));
    assert_eq!(parsed.to_string(), digits.to_ascii_lowercase());
    for bad in ["", "00", &digits[1..], &format!("{digits}00"), &digits.replace('A', "g")] {
        assert_eq!(Thumbprint::parse(bad), None, "{bad}");
    }
}

proptest! {
    #[test]
    fn damaged_certificates_are_refused_or_read_and_nothing_else(at in 0_usize..400, bits in 1_u8.., cut in 0_usize..500) {
        let mut der = leaf(vec![SanType::DnsName(text("a.example")), SanType::URI(text("urn:a"))]).to_vec();
        if let Some(byte) = der.get_mut(at) {
            *byte ^= bits;
        }
        der.truncate(der.len().saturating_sub(cut % 2 * (cut / 2)));
        if let Ok(read) = ClientCertificate::read(vec![der.into()]) {
            prop_assert!(read.subject().len() <= 1_024 && !read.subject().chars().any(char::is_control));
        }
    }
}
