use super::*;
use crate::{compile::compile, document::Document, source};

const READY: Means<'_> =
    Means { identities: &["other", "billing"], principals: Signing::Ready, tokens: Signing::Ready, introspection_clients: &["gateway"] };

fn structure(services: &str) -> Structure {
    let text = format!("version: 1\nregions: [ {{ name: eu }} ]\ntenants: [ {{ name: acme, hosts: [ api.example ] }} ]\nupstreams:\n{services}");
    compile(&source::read::<Document>(&text).unwrap().0).unwrap()
}

/// A service that wants to know who calls must not be called by nobody.
#[test]
fn service_whose_identity_a_node_lacks_is_named_with_its_place() {
    let structure = structure(
        "- { name: a, regions: { eu: { targets: [ \"http://a\" ] } } }\n- { name: b, regions: { eu: { targets: [ \"https://b\" ] } }, tls: { client_certificate: billing } }\n",
    );

    assert_eq!(check(&structure, READY), Ok(()));
    let [error] = &check(&structure, Means { identities: &["biling"], ..READY }).unwrap_err()[..] else { panic!("one mistake") };
    assert_eq!(error.path, "upstreams[1].tls.client_certificate");
    assert!(error.message.contains("`billing`") && error.help.as_ref().unwrap().contains("`biling`"), "{error:?}");
}

/// A node that cannot say who calls must not call as if nobody did.
#[test]
fn service_that_wants_to_know_who_calls_is_refused_by_a_node_without_keys() {
    let structure = structure(
        "- { name: a, regions: { eu: { targets: [ \"http://a\" ] } } }\n- { name: b, regions: { eu: { targets: [ \"http://b\" ] } }, principal: {} }\n",
    );
    let keyless = Means { principals: Signing::Keyless, ..READY };

    assert_eq!(check(&structure, READY), Ok(()));
    let errors = check(&structure, keyless).unwrap_err();
    assert_eq!(errors.iter().map(|error| error.path.as_str()).collect::<Vec<_>>(), ["upstreams[1].principal"]);
    assert!(errors[0].message.contains("no key to sign who calls"), "{errors:?}");
}

/// A node that cannot make tokens must not promise them.
#[test]
fn token_endpoint_is_refused_by_a_node_without_keys() {
    let structure = structure(
        "- { name: a, regions: { eu: { targets: [ \"http://a\" ] } } }\nroutes:\n- { name: a, match: { path: /a }, upstream: a }\n- { name: t, match: { path: /t, methods: [POST] }, token_endpoint: {} }\n",
    );

    assert_eq!(check(&structure, READY), Ok(()));
    let errors = check(&structure, Means { tokens: Signing::Keyless, ..READY }).unwrap_err();
    assert_eq!(errors.iter().map(|error| error.path.as_str()).collect::<Vec<_>>(), ["routes[1].token_endpoint"]);
    assert!(errors[0].message.contains("secrets.access_tokens"), "{errors:?}");
}

/// A node that cannot ask an issuer would refuse all of its tokens.
#[test]
fn issuer_that_a_node_cannot_ask_is_named_with_its_place() {
    let structure = structure(
        "- { name: a, regions: { eu: { targets: [ \"http://a\" ] } } }\nissuers:\n- { name: id, issuer: \"https://id\", audiences: [a], application: web, \
         introspection: { endpoint: \"https://id/ask\", client: gateway } }\n",
    );

    assert_eq!(check(&structure, READY), Ok(()));
    let [error] = &check(&structure, Means { introspection_clients: &["gatewey"], ..READY }).unwrap_err()[..] else { panic!("one mistake") };
    assert_eq!(error.path, "issuers[0].introspection.client");
    assert!(error.message.contains("`gateway`") && error.help.as_ref().unwrap().contains("`gatewey`"), "{error:?}");
}
