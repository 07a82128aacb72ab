use crate::{
    compile::compile,
    document::Document,
    identity::IssuerDoc,
    source,
    structure::{
        Structure,
        identity::{Auth, Binding, Credential, Holder, KeySource, Kinds, Place},
    },
};

const PEM: &str = "-----BEGIN PUBLIC KEY-----\\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\\n-----END PUBLIC KEY-----\\n";

fn compiled(issuers: &str, auth: &str) -> Result<Structure, Vec<String>> {
    let text = format!(
        "
version: 1
regions: [ {{ name: eu }} ]
tenants: [ {{ name: acme, hosts: [ api.example ] }} ]
upstreams:
- {{ name: shop, regions: {{ eu: {{ targets: [ \"http://10.0.0.1:8080\" ] }} }} }}
issuers: [{issuers}]
routes:
- {{ name: a, match: {{ path: /a }}, auth: {auth}, upstream: shop }}
"
    );
    let (document, _) = source::read::<Document>(&text).map_err(|error| vec![format!("syntax: {}", error.message)])?;
    compile(&document).map_err(|errors| {
        let line = |error: crate::compile::ConfigError| format!("{}: {} ({})", error.path, error.message, error.help.unwrap_or_default());
        errors.into_iter().map(line).collect()
    })
}

fn issuer(name: &str, more: &str) -> String {
    let keys =
        if more.contains("jwks:") || more.contains("discovery:") || more.contains("keys:") { "" } else { "jwks: \"https://id.example/keys\", " };
    let holder = if more.contains("application") { "" } else { "application: web, " };
    let audiences = if more.contains("audiences") { "" } else { "audiences: [api], " };
    format!("{{ name: {name}, issuer: \"https://{name}.example\", {keys}{holder}{audiences}{more} }}")
}

fn check(issuers: &str, auth: &str, expected: &str) {
    let errors = compiled(issuers, auth).expect_err(auth);
    assert!(errors.iter().any(|error| error.contains(expected)), "{issuers} {auth}\n  expected: {expected}\n  got: {errors:?}");
}

#[test]
fn each_mistake_of_an_issuer_is_named_with_its_place() {
    for (more, expected) in [
        ("jwks: \"http://id.example/keys\"", "issuers[0].jwks: `http://id.example/keys`: it is asked over https alone"),
        ("jwks: \"https://a:b@id.example/keys\"", "issuers[0].jwks: `https://a:b@id.example/keys`: it has credentials"),
        ("jwks: \"keys.json\"", "it is not a URL"),
        ("jwks: \"https://id.example/keys\", discovery: true", "exactly one of `jwks`"),
        ("audiences: []", "1 to 16 audiences are needed"),
        ("algorithms: [HS256]", "issuers[0].algorithms[0]: `HS256` needs a secret that both sides know"),
        ("algorithms: [RS265]", "there is no signature algorithm named `RS265` (did you mean `RS256`?)"),
        ("algorithms: [none]", "there is no signature algorithm named `none`"),
        ("algorithms: []", "at least one algorithm is needed"),
        ("leeway: 1m", "the leeway must be 5 to 30 seconds"),
        ("leeway: 4s", "the leeway must be 5 to 30 seconds"),
        ("lifetime_max: 0s", "the longest lifetime must not be zero"),
        ("refresh: 5s", "issuers[0].refresh: write a duration from 30s to 24h"),
        ("refresh: 10m, stale_max: 5m", "issuers[0].stale_max: write a duration from twice that of `refresh`"),
        ("ca: nothing", "issuers[0].ca: it holds no `-----BEGIN CERTIFICATE-----`"),
        ("application: web, application_claim: azp", "write one of the two"),
        ("application: Web", "is not the name of an application"),
        ("keys: [ { algorithm: EdDSA, pem: nothing } ]", "issuers[0].keys[0]: it is not one section PUBLIC KEY"),
        (&format!("keys: [ {{ algorithm: RS256, pem: \"{PEM}\" }} ]"), "issuers[0].keys[0]: its algorithm does not fit its type"),
        (&format!("keys: [ {{ algorithm: HS256, pem: \"{PEM}\" }} ]"), "issuers[0].keys[0].algorithm: `HS256` needs a secret"),
        (
            &format!("algorithms: [RS256], keys: [ {{ algorithm: EdDSA, pem: \"{PEM}\" }} ]"),
            "issuers[0].keys[0].algorithm: the issuer's `algorithms` lack it",
        ),
        ("jwks_uri: \"https://id.example\"", "syntax"),
    ] {
        check(&issuer("id", more), "jwt", expected);
    }
    let several = compiled(&issuer("id", "algorithms: [none], jwks: \"http://id.example\", leeway: 1m"), "none").unwrap_err();
    assert_eq!(several.len(), 3, "all are told at once: {several:?}");
    let without = "{ name: id, issuer: x, audiences: [api], jwks: \"https://id.example\" }";
    check(without, "jwt", "it is not said which application its tokens' calls count for (write `application: <name>`");
    check(&format!("{}, {}", issuer("id", ""), issuer("id", "")), "none", "used twice");
    check(
        &format!("{}, {}", issuer("id", ""), issuer("id", "").replace("name: id", "name: di")),
        "none",
        "issuers[1].issuer: `https://id.example` stands twice",
    );
}

#[test]
fn each_mistake_of_a_route_is_named_with_its_place() {
    let two = format!("{}, {}", issuer("id", ""), issuer("partner", ""));
    for (issuers, auth, expected) in [
        ("", "jwt", "routes[0].auth: there are no `issuers`"),
        (
            &*issuer("id", "forward: true"),
            "jwt, cache: {}, consistency: { reads: { mode: eventual } }",
            "routes[0].cache: the service gets the token",
        ),
        (&*two, "jwt", "routes[0].auth: say whose tokens are taken (write `jwt: { issuer: <name> }`"),
        (&two, "{ jwt: { issuer: idd } }", "routes[0].auth.jwt.issuer: there is no issuer named `idd` (did you mean `id`?)"),
        (&two, "{ jwt: { issuer: [] } }", "routes[0].auth.jwt.issuer: write the name of an issuer"),
        (&two, "{ jwt: { issuer: [id, id] } }", "`id` stands twice"),
        (&two, "{ jwt: { issuer: id, audience: [] } }", "routes[0].auth.jwt.audience: write an audience"),
        (&two, "{ jwt: { issuer: id, aud: x } }", "routes[0].auth.jwt.aud: unknown key `aud`"),
        (&two, "{ any_of: [] }", "routes[0].auth.any_of: write a list of 1 to 8"),
        (&two, "{ any_of: [ api_key, none ] }", "routes[0].auth.any_of[1]: `none` stands alone"),
        (&two, "{ any_of: [ api_key, mtls ] }", "routes[0].auth.any_of[1]: there are no `certificate_authorities` that could vouch"),
        (&two, "{ any_of: [ api_key, api_key ] }", "another alternative asks for the same kinds of credentials"),
        (&two, "{ any_of: [ { jwt: { issuer: id } }, { jwt: { issuer: partner } } ] }", "name several issuers in one"),
        (&two, "{ any_of: [ { any_of: [ api_key ] } ] }", "`any_of` does not stand here"),
        (&two, "{ all_of: [ api_key, { all_of: [ api_key ] } ] }", "`all_of` does not stand here"),
        (&two, "{ all_of: [ api_key, api_key ] }", "routes[0].auth.all_of[1]: this method stands twice"),
        (&two, "{ jwt: {}, any_of: [] }", "routes[0].auth: write `api_key`, `jwt`"),
        (&two, "apikey", "there is no authentication method named `apikey` (did you mean `api_key`?)"),
        (&two, "3", "routes[0].auth: write `api_key`"),
    ] {
        check(issuers, auth, expected);
    }
}

#[test]
fn what_is_right_compiles_to_what_it_says() {
    let structure = compiled(&issuer("id", "discovery: true, application_claim: azp, forward: true"), "jwt").unwrap();
    let [id] = structure.issuers.as_slice() else { panic!("{:?}", structure.issuers) };
    assert!(matches!(id.holder, Holder::Client) && id.forward);
    let KeySource::Remote(remote) = &id.keys else { panic!("{id:?}") };
    let Place::Configuration { url, issuer: named } = &remote.place else { panic!("{remote:?}") };
    assert_eq!((url.as_str(), &**named), ("https://id.example/.well-known/openid-configuration", "https://id.example"));
    let (key, token) = (Kinds { key: true, ..Kinds::default() }, Kinds { token: true, ..Kinds::default() });
    assert!(structure.routes[0].auth.way(token).is_some() && structure.routes[0].auth.way(key).is_none());
    assert!(structure.routes[0].auth.forwards());

    let fixed = issuer("id", &format!("keys: [ {{ kid: a, algorithm: EdDSA, pem: \"{PEM}\" }} ]"));
    let structure = compiled(&fixed, "{ any_of: [ api_key, { all_of: [ { jwt: { audience: other } }, api_key ] } ] }").unwrap();
    let Auth::Ways(ways) = &structure.routes[0].auth else { panic!() };
    assert!(matches!(&*ways[0].0, [Credential::Key]), "{ways:?}");
    assert!(matches!(&*ways[1].0, [Credential::Token(_), Credential::Key]), "{ways:?}");
    assert!(!structure.routes[0].auth.forwards());

    let structure = compiled("", "{ any_of: [ api_key ] }").unwrap();
    assert!(matches!(structure.routes[0].auth, Auth::ApiKey), "the usual way stays the quick one");
}

#[test]
fn an_issuer_that_is_asked_about_its_tokens_says_where_by_whom_and_for_how_long() {
    let asked = |more: &str| issuer("id", more).replace("jwks: \"https://id.example/keys\", ", "");
    let good = "endpoint: \"https://id.example/ask\", client: gateway";
    let structure = compiled(&asked(&format!("introspection: {{ {good} }}")), "jwt").unwrap();
    let KeySource::Introspection(found) = &structure.issuers[0].keys else { panic!("asked") };
    assert_eq!((found.endpoint.as_str(), &*found.client, found.cache.as_secs()), ("https://id.example/ask", "gateway", 30));
    for (more, expected) in [
        (format!("introspection: {{ {good}, cache: 0s }}"), "issuers[0].introspection.cache: write a duration from 1s to 5m"),
        (format!("introspection: {{ {good}, cache: 6m }}"), "issuers[0].introspection.cache: write a duration from 1s to 5m"),
        (
            "introspection: { endpoint: \"http://id.example/ask\", client: gateway }".to_owned(),
            "issuers[0].introspection.endpoint: `http://id.example/ask`",
        ),
        (
            "introspection: { endpoint: \"https://id.example/ask\", client: \"a b\" }".to_owned(),
            "issuers[0].introspection.client: `a b` is not a name",
        ),
        ("introspection: { endpoint: \"https://id.example/ask\" }".to_owned(), "syntax: "),
        (format!("introspection: {{ {good}, secret: x }}"), "syntax: "),
        (format!("introspection: {{ {good} }}, discovery: true"), "issuers[0].introspection: an issuer is asked about its tokens, or has keys"),
        (format!("introspection: {{ {good} }}, typ: JWT"), "issuers[0].typ: "),
        (format!("introspection: {{ {good} }}, ca: x"), "issuers[0].ca: "),
    ] {
        check(&asked(&more), "jwt", expected);
    }
    let two = [
        asked(&format!("introspection: {{ {good} }}")),
        asked(&format!("introspection: {{ {good} }}")).replace("name: id", "name: other").replace("https://id.example\"", "https://other.example\""),
    ];
    check(&two.join(", "), "{ jwt: { issuer: [id, other] } }", "routes[0].auth.jwt.issuer: only one of a route's issuers can be asked about tokens");
}

#[test]
fn what_happens_with_bound_tokens_is_said_by_the_issuer_and_written_only_then() {
    for (dpop, expected) in
        [("", Binding::Refuse), ("dpop: refuse", Binding::Refuse), ("dpop: accept", Binding::Accept), ("dpop: require", Binding::Require)]
    {
        let structure = compiled(&issuer("id", dpop), "jwt").unwrap();
        assert_eq!(structure.issuers[0].dpop, expected);
        assert_eq!(structure.routes[0].auth.takes_dpop(), expected != Binding::Refuse, "{dpop}");
        assert!(!structure.hosts.asks_certificate, "a key needs no certificate");
    }
    let without: IssuerDoc = serde_json::from_value(serde_json::json!({ "name": "a", "issuer": "https://a", "audiences": [] })).unwrap();
    assert!(serde_json::to_value(&without).unwrap().get("dpop").is_none(), "a node of the version before does not know the member");
    check(&issuer("id", "dpop: maybe"), "jwt", "syntax: ");
}
