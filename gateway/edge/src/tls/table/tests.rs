use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use super::{Chain, ChainTable, UnknownHost};
use crate::tls::ChainFault;

const DAY: i64 = 86_400;
/// 2030-01-01.
const NOW: i64 = 1_893_456_000;

fn params(hosts: &[&str], days: i64) -> CertificateParams {
    let mut params = CertificateParams::new(hosts.iter().map(|host| (*host).to_owned()).collect::<Vec<_>>()).unwrap();
    let at = |unix: i64| time::OffsetDateTime::from_unix_timestamp(unix).unwrap();
    (params.not_before, params.not_after) = (at(NOW - 30 * DAY), at(NOW + days * DAY));
    params
}

fn chain(hosts: &[&str], days: i64) -> Chain {
    let key = KeyPair::generate().unwrap();
    let certificate = params(hosts, days).self_signed(&key).unwrap();
    Chain::read(certificate.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap()
}

fn owned(hosts: &[&str]) -> Vec<String> {
    hosts.iter().map(|host| (*host).to_owned()).collect()
}

#[test]
fn name_gets_its_own_chain_then_that_of_one_label_below_then_the_default() {
    let (default, exact, wildcard) = (chain(&["default.test"], 90), chain(&["a.example.test"], 60), chain(&["*.example.test"], 30));
    let chains = [(owned(&["A.example.test"]), exact.clone()), (owned(&["*.example.test"]), wildcard.clone())];

    for (unknown, otherwise) in [(UnknownHost::Default, Some(&default)), (UnknownHost::Refuse, None)] {
        let table = ChainTable::new(&default, &chains, unknown);
        let cases = [
            (Some("a.example.test"), Some(&exact)),
            (Some("b.example.test"), Some(&wildcard)),
            (Some("default.test"), Some(&default)),
            (Some("example.test"), otherwise),
            (Some("x.a.example.test"), otherwise),
            (Some(".example.test"), otherwise),
            (Some("other.test"), otherwise),
            (Some(""), otherwise),
            (None, otherwise),
        ];
        for (name, expected) in cases {
            let found = table.find(name).map(|found| found.cert.clone());
            assert_eq!(found, expected.map(|chain| chain.certified().cert.clone()), "{name:?} {unknown:?}");
        }
        assert_eq!(table.earliest_end_unix(), NOW + 30 * DAY);
    }
}

#[test]
fn table_holds_the_leaves_of_its_chains_and_no_other_certificate_for_their_names() {
    let (default, exact, wildcard) = (chain(&["default.test"], 90), chain(&["a.example.test"], 60), chain(&["*.example.test"], 30));
    let table = ChainTable::new(
        &default,
        &[(owned(&["a.example.test"]), exact.clone()), (owned(&["*.example.test"]), wildcard.clone())],
        UnknownHost::Refuse,
    );

    for own in [&default, &exact, &wildcard] {
        assert!(table.holds(&own.certified().cert[0]), "{:?}", own.names());
    }
    for foreign in ["default.test", "a.example.test", "*.example.test"] {
        assert!(!table.holds(&chain(&[foreign], 90).certified().cert[0]), "{foreign}");
    }
}

#[test]
fn chain_is_held_to_its_dates_its_names_and_its_signatures() {
    let leaf = chain(&["a.test", "*.b.test", "127.0.0.1"], 10);

    assert_eq!(leaf.names(), ["a.test", "*.b.test", "127.0.0.1"]);
    assert_eq!(leaf.verify(&owned(&["a.test", "*.b.test", "x.b.test", "127.0.0.1"]), NOW), Ok(()));
    assert_eq!(leaf.verify(&[], NOW + 12 * DAY), Err(ChainFault::Expired { days: 2 }));
    assert_eq!(leaf.verify(&[], NOW - 33 * DAY), Err(ChainFault::NotYetValid { days: 3 }));
    for host in ["b.test", "x.y.b.test", "*.a.test", "127.0.0.2"] {
        assert!(matches!(leaf.verify(&owned(&[host]), NOW), Err(ChainFault::Name { host: named, .. }) if named == host), "{host}");
    }

    let [ca_key, leaf_key] = [(), ()].map(|()| KeyPair::generate().unwrap());
    let mut ca = params(&[], 900);
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
    let leaf_pem = params(&["a.test"], 90).signed_by(&leaf_key, &Issuer::new(ca.clone(), &ca_key)).unwrap().pem();
    let stranger_pem = ca.self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
    let read = |chain: String| Chain::read(chain.as_bytes(), leaf_key.serialize_pem().as_bytes()).unwrap();
    assert_eq!(read(format!("{leaf_pem}{ca_pem}")).verify(&owned(&["a.test"]), NOW), Ok(()));
    assert!(matches!(read(format!("{leaf_pem}{stranger_pem}")).verify(&[], NOW), Err(ChainFault::Chain { .. })));
}
