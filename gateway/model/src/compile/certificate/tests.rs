use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, SerialNumber,
    date_time_ymd,
};
use serde_json::{Value, json};

use crate::{compile::compile, document::Document, structure::Structure};

fn root(usages: &[KeyUsagePurpose]) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = usages.to_vec();
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn pem() -> String {
    root(&[]).pem()
}

/// A list of an authority's, made `n`th.
fn crl(issuer: &CertifiedIssuer<'static, KeyPair>, n: u64) -> String {
    let params = CertificateRevocationListParams {
        this_update: date_time_ymd(2025, 1, 1),
        next_update: date_time_ymd(2027, 1, 1),
        crl_number: SerialNumber::from(n),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(issuer).unwrap().pem().unwrap()
}

fn compiled(authorities: &Value, auth: &Value) -> Result<Structure, Vec<String>> {
    let document = json!({
        "version": 1, "regions": [{ "name": "eu" }],
        "tenants": [{ "name": "acme", "hosts": ["api.example"] }, { "name": "open", "hosts": ["*.open.example"] }],
        "certificate_authorities": authorities,
        "upstreams": [{ "name": "shop", "regions": { "eu": { "targets": ["http://10.0.0.1:8080"] } } }],
        "routes": [
            { "name": "a", "match": { "host": "api.example", "path": "/a" }, "auth": auth, "upstream": "shop" },
            { "name": "b", "match": { "host": "*.open.example", "path": "/b" }, "upstream": "shop" },
        ],
    });
    let document: Document = serde_json::from_value(document).map_err(|error| vec![error.to_string()])?;
    compile(&document).map_err(|errors| errors.into_iter().map(|error| format!("{}: {}", error.path, error.message)).collect())
}

fn check(authorities: &Value, auth: &Value, expected: &str) {
    let errors = compiled(authorities, auth).expect_err(expected);
    assert!(errors.iter().any(|error| error.contains(expected)), "{authorities}\n  expected: {expected}\n  got: {errors:?}");
}

#[test]
fn mistakes_in_an_authority_are_told_with_their_place() {
    let issuer = root(&[KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign]);
    let ca = issuer.pem();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::default().self_signed(&key).unwrap().pem();
    let cannot_sign = root(&[KeyUsagePurpose::CrlSign]).pem();
    let twice = [crl(&issuer, 1), crl(&issuer, 2)].concat();
    let print = "ab".repeat(32);
    for (doc, expected) in [
        (json!({ "name": "p" }), "certificate_authorities[0]: it is not said whose"),
        (json!({ "name": "P!", "ca": ca, "application": "x" }), "certificate_authorities[0].name: `P!` is not a name"),
        (json!({ "name": "p", "ca": "x", "application": "x" }), "certificate_authorities[0].ca: "),
        (json!({ "name": "p", "ca": leaf, "application": "x" }), "ca: certificate 1 of the text is no authority's"),
        (json!({ "name": "p", "ca": cannot_sign, "application": "x" }), "ca: certificate 1 of the text is no authority's"),
        (json!({ "name": "p", "ca": ca.clone() + &key.serialize_pem(), "application": "x" }), "ca: it holds other sections beside `CERTIFICATE`"),
        (json!({ "name": "p", "ca": ca, "application": "x", "crls": twice }), "crls: list 2 of the text has the same issuer as another one"),
        (json!({ "name": "p", "ca": ca, "application": "x", "crls": crl(&issuer, 1) + &ca }), "crls: the text holds other sections"),
        (json!({ "name": "p", "application": "x" }), "certificate_authorities[0].application: without `ca` this would let everybody in"),
        (json!({ "name": "p", "ca": ca, "application": "a b" }), "certificate_authorities[0].application: `a b` is not the name"),
        (json!({ "name": "p", "ca": ca, "application": "x", "crls": "x" }), "certificate_authorities[0].crls: write 1 to 32 PEM"),
        (
            json!({ "name": "p", "ca": ca, "application": "x", "crls": ca.replace("CERTIFICATE", "X509 CRL") }),
            "crls: list 1 of the text cannot be read",
        ),
        (json!({ "name": "p", "ca": ca, "application": "x", "expired_crls": "maybe" }), "unknown variant `maybe`"),
        (json!({ "name": "p", "ca": ca, "clients": [{ "application": "x" }] }), "clients[0]: write exactly one of `dns`"),
        (json!({ "name": "p", "ca": ca, "clients": [{ "application": "x", "dns": "a", "uri": "b" }] }), "clients[0]: write exactly one of `dns`"),
        (json!({ "name": "p", "ca": ca, "clients": [{ "application": "x", "dns": "*.a" }] }), "clients[0].dns: a wildcard is no client's name"),
        (json!({ "name": "p", "ca": ca, "clients": [{ "application": "x", "uri": "a b" }] }), "clients[0].uri: write 1 to 1024 visible"),
        (
            json!({ "name": "p", "ca": ca, "clients": [{ "application": "x", "thumbprint": "abc" }] }),
            "clients[0].thumbprint: write the certificate's SHA-256",
        ),
        (json!({ "name": "p", "clients": [{ "application": "x", "dns": "a" }] }), "clients[0].dns: without `ca` anybody could write this name"),
        (
            json!({ "name": "p", "clients": [{ "application": "x", "thumbprint": print }, { "application": "y", "thumbprint": print }] }),
            "clients[1]: another entry has the same name",
        ),
        (json!({ "name": "p", "crls": "x", "clients": [{ "application": "x", "thumbprint": print }] }), "crls: without `ca` there is nobody"),
    ] {
        check(&json!([doc]), &json!("mtls"), expected);
    }
    let two = json!([{ "name": "p", "ca": ca, "application": "x" }, { "name": "q", "ca": ca, "application": "x" }]);
    for (auth, expected) in [
        (json!("mtls"), "routes[0].auth: say who vouches for certificates"),
        (json!({ "mtls": { "authority": "r" } }), "routes[0].auth.mtls.authority: there is no certificate authority named `r`"),
        (json!({ "mtls": { "authority": ["p", "p"] } }), "`p` stands twice"),
        (json!({ "mtls": { "ca": "p" } }), "routes[0].auth.mtls.ca: unknown key `ca`"),
        (json!({ "any_of": [{ "mtls": { "authority": "p" } }, { "mtls": { "authority": "q" } }] }), "routes[0].auth.any_of[1]: another alternative"),
        (json!({ "all_of": ["mtls", "mtls"] }), "say who vouches"),
    ] {
        check(&two, &auth, expected);
    }
}

#[test]
fn only_hosts_that_need_a_certificate_ask_for_it() {
    let one = json!([{ "name": "p", "ca": pem(), "application": "x" }]);
    for (auth, asks) in [
        (json!("mtls"), true),
        (json!({ "any_of": ["api_key", { "mtls": { "authority": ["p"] } }] }), true),
        (json!({ "all_of": ["api_key", "mtls"] }), true),
        (json!("api_key"), false),
        (json!("none"), false),
    ] {
        let structure = compiled(&one, &auth).unwrap();
        assert_eq!(structure.hosts.asks_certificate, asks, "{auth}");
        assert_eq!(structure.hosts.find("api.example").unwrap().asks_certificate, asks, "{auth}");
        assert!(!structure.hosts.find("x.open.example").unwrap().asks_certificate, "{auth}");
    }
}

#[test]
fn a_host_whose_tokens_may_be_bound_asks_too_and_a_route_has_few_authorities() {
    let document = |bound: &str| {
        json!({
            "version": 1, "regions": [{ "name": "eu" }], "tenants": [{ "name": "acme", "hosts": ["api.example"] }],
            "issuers": [{ "name": "id", "issuer": "https://id.example", "jwks": "https://id.example/k", "audiences": ["a"], "application": "x",
                "certificate_bound": bound }],
            "upstreams": [{ "name": "shop", "regions": { "eu": { "targets": ["http://10.0.0.1:8080"] } } }],
            "routes": [{ "name": "a", "match": { "path": "/a" }, "auth": "jwt", "upstream": "shop" }],
        })
    };
    for (bound, asks) in [("refuse", false), ("accept", true), ("require", true)] {
        let document: Document = serde_json::from_value(document(bound)).unwrap();
        assert_eq!(compile(&document).unwrap().hosts.asks_certificate, asks, "{bound}");
        let written = serde_json::to_value(&document.issuers[0]).unwrap();
        assert_eq!(written.get("certificate_bound").is_some(), asks, "a node of the version before does not know the member");
    }
    let ca = pem();
    let many: Vec<Value> = (0..9).map(|n| json!({ "name": format!("p{n}"), "ca": ca, "application": "x" })).collect();
    let names: Vec<String> = (0..9).map(|n| format!("p{n}")).collect();
    check(&json!(many), &json!({ "mtls": { "authority": names } }), "a route takes certificates of at most 8 authorities");
}

#[test]
fn a_route_for_keys_asks_where_it_says_so_and_one_without_keys_may_not() {
    let route = |auth: Value, ask: Value| {
        let mut route = json!({ "name": "a", "match": { "path": "/a" }, "auth": auth, "client_certificate": ask, "upstream": "shop" });
        route.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        let document: Document = serde_json::from_value(json!({
            "version": 1, "regions": [{ "name": "eu" }], "tenants": [{ "name": "acme", "hosts": ["api.example"] }],
            "certificate_authorities": [{ "name": "p", "ca": pem(), "application": "x" }],
            "upstreams": [{ "name": "shop", "regions": { "eu": { "targets": ["http://10.0.0.1:8080"] } } }],
            "routes": [route],
        }))
        .unwrap();
        let is_written = serde_json::to_value(&document.routes[0]).unwrap().get("client_certificate").is_some();
        (compile(&document).map(|structure| structure.hosts.asks_certificate), is_written)
    };
    for (auth, ask, asks, is_written) in [
        (json!("api_key"), json!("ask"), Some(true), true),
        (json!({ "any_of": ["api_key", "mtls"] }), json!("ask"), Some(true), true),
        (json!("api_key"), json!("as_needed"), Some(false), false),
        (json!("api_key"), Value::Null, Some(false), false),
        (json!("none"), json!("ask"), None, true),
        (json!("mtls"), json!("ask"), None, true),
    ] {
        let (compiled, written) = route(auth.clone(), ask.clone());
        assert_eq!((compiled.as_ref().ok().copied(), written), (asks, is_written), "{auth} {ask}: a node of the version before knows no such member");
        let told = compiled.err().into_iter().flatten().map(|error| error.message).collect::<String>();
        assert_eq!(told.contains("only keys can be bound to a certificate"), asks.is_none(), "{told}");
    }
}
