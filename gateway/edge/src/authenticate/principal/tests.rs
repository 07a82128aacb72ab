use std::collections::HashMap;

use model::{
    authority::Authority,
    change::{ApplicationRow, ConsumerRow, KeyRow},
    compile::compile,
    document::Document,
    time::BootNanos,
};

use super::*;
use crate::fixture::key_row;

const DOCUMENT: &str = r#"{
    "version": 1, "regions": [{ "name": "eu" }], "tenants": [{ "name": "acme", "hosts": ["api.example"] }],
    "issuers": [{ "name": "id", "issuer": "https://id.example", "jwks": "https://id.example/keys", "audiences": ["api"], "application_claim": "azp" }]
}"#;
const NOW: Now = Now { boot: BootNanos(0), wall: UtcMicros(1_000_000_000) };

struct World {
    snapshot: Snapshot,
    key: Proof,
    ids: [ApplicationId; 3],
}

/// Two applications of one consumer, and one of another; a key of the first.
fn world() -> World {
    let document: Document = serde_json::from_str(DOCUMENT).unwrap();
    let structure = compile(&document).unwrap();
    let consumers = [ConsumerId::new(Uuid::from_u128(1)), ConsumerId::new(Uuid::from_u128(2))];
    let ids = [11, 12, 13].map(|id| ApplicationId::new(Uuid::from_u128(id)));
    let row = |id, consumer, name: &str| ApplicationRow {
        id,
        consumer,
        name: name.to_owned(),
        plan: None,
        scopes: vec!["read".to_owned(), "own".to_owned()],
    };
    let rows = [row(ids[0], consumers[0], "web"), row(ids[1], consumers[0], "app"), row(ids[2], consumers[1], "other")];
    let key = KeyRow { application: ids[0], expires_at: UtcMicros(2_000_000_000), ..key_row() };
    let id = key.id;
    let consumer = |id, name: &str| ConsumerRow { id, name: name.to_owned(), tenant: "acme".to_owned(), residency: None };
    let authority = Authority::from_rows([consumer(consumers[0], "acme"), consumer(consumers[1], "rival")], rows, [key], []);
    let key = Proof::Key(KeyProof { id, key: Arc::clone(authority.keys.get(&id).unwrap()), secret_number: 1, lent: None });
    let snapshot = Snapshot {
        revisions: model::change::Revisions::default(),
        structure: Arc::new(structure),
        authority: Arc::new(authority),
        writers: Arc::new(HashMap::new()),
        booted_from: None,
    };
    World { snapshot, key, ids }
}

fn token(world: &World, client: Option<&str>, until: i64) -> Proof {
    Proof::Token(Arc::new(Token {
        issuer: Arc::clone(&world.snapshot.structure.issuers[0]),
        rules: Arc::clone(&world.snapshot.structure.issuers[0].rules),
        subject: "alice".into(),
        id: Some("t-1".into()),
        issued_at: Some(UtcMicros(900_000_000)),
        subject_id: Uuid::from_u128(7),
        client: client.map(Into::into),
        scopes: ["read".into(), "write".into()].into(),
        until: UtcMicros(until),
        confirmation: None,
    }))
}

/// Whatever proves who calls: where the caller's data may lie is a matter of the consumer.
#[test]
fn a_consumers_labels_hold_for_its_keys_and_for_its_tokens_and_for_nobody_elses() {
    let mut world = world();
    let row = |residency| ConsumerRow { id: ConsumerId::new(Uuid::from_u128(1)), name: "acme".to_owned(), tenant: "acme".to_owned(), residency };
    let set = |world: &mut World, residency| {
        let authority = world.snapshot.authority.with([model::change::AuthorityChange::Consumer(row(residency))]);
        world.snapshot.authority = Arc::new(authority);
    };
    let is_anywhere = |world: &World, proof: Proof, also| of(&world.snapshot, proof, also, NOW).unwrap().within(&world.snapshot).allows("eu");
    let all = |world: &World| {
        let token = |client| token(world, Some(client), 1_500_000_000);
        let by_one = [world.key.clone(), token("web"), token("app"), token("other")].map(|proof| is_anywhere(world, proof, Vec::new()));
        (by_one, is_anywhere(world, token("app"), vec![world.key.clone()]))
    };

    assert_eq!(all(&world), ([true; 4], true));
    set(&mut world, Some(vec!["mars".to_owned()]));
    assert_eq!(all(&world), ([false, false, false, true], false));
    set(&mut world, None);
    assert_eq!(all(&world), ([true; 4], true));
}

#[test]
fn a_token_stands_for_the_application_that_its_client_is_named_like() {
    let world = world();
    let principal = of(&world.snapshot, token(&world, Some("app"), 1_500_000_000), Vec::new(), NOW).unwrap();

    assert_eq!((principal.application_id, &*principal.consumer.name, principal.scopes.len()), (world.ids[1], "acme", 2));
    assert!(principal.key().is_none() && principal.token().is_some());
    for client in [None, Some("nobody"), Some("App")] {
        assert!(of(&world.snapshot, token(&world, client, 1_500_000_000), Vec::new(), NOW).is_none(), "{client:?}");
    }
    assert!(of(&world.snapshot, token(&world, Some("app"), NOW.wall.0), Vec::new(), NOW).is_none(), "over");
}

#[test]
fn two_proofs_stand_for_one_consumer_and_for_what_both_allow() {
    let world = world();
    let both = |client| of(&world.snapshot, world.key.clone(), vec![token(&world, Some(client), 1_500_000_000)], NOW);

    let principal = both("app").unwrap();
    assert_eq!((principal.application_id, principal.scopes.iter().map(|scope| &**scope).collect::<Vec<_>>()), (world.ids[0], vec!["read"]));
    assert!(both("other").is_none(), "a token of one customer with a key of another");
    let (_, until) = again(&world.snapshot, &principal, "acme", NOW).unwrap();
    assert_eq!(until, UtcMicros(1_500_000_000), "the first that ends");
    assert!(again(&world.snapshot, &principal, "else", NOW).is_none());
}

#[test]
fn what_held_is_held_no_longer_than_what_it_rests_on() {
    let world = world();
    let key = of(&world.snapshot, world.key.clone(), Vec::new(), NOW).unwrap();
    let caller = of(&world.snapshot, token(&world, Some("app"), 1_500_000_000), Vec::new(), NOW).unwrap();
    assert!(is_still_valid(&world.snapshot, &key, NOW) && is_still_valid(&world.snapshot, &caller, NOW));

    let later = Now { wall: UtcMicros(1_500_000_000), ..NOW };
    assert!(!is_still_valid(&world.snapshot, &caller, later), "the token is over");
    let without_issuer = Snapshot { structure: Arc::default(), ..world.snapshot.clone() };
    assert!(!is_still_valid(&without_issuer, &caller, NOW) && is_still_valid(&without_issuer, &key, NOW), "nobody vouches for it any more");
    let gone = model::change::AuthorityChange::ApplicationRemoved { id: world.ids[1] };
    let without_application = Snapshot { authority: Arc::new(world.snapshot.authority.with([gone])), ..world.snapshot.clone() };
    assert!(!is_still_valid(&without_application, &caller, NOW));
    let which = model::denial::Denied::Token { id: "t-1".to_owned() };
    let denial = model::denial::DenialRow { issuer: "https://id.example".to_owned(), which, expires_at: UtcMicros(i64::MAX) };
    let denied = world.snapshot.authority.with([model::change::AuthorityChange::TokenDenied(denial)]);
    let with_denial = Snapshot { authority: Arc::new(denied), ..world.snapshot.clone() };
    assert!(!is_still_valid(&with_denial, &caller, NOW) && is_still_valid(&with_denial, &key, NOW));
    let KeyProof { id, .. } = *key.key().unwrap();
    let revoked = model::change::AuthorityChange::KeyRemoved { id };
    let without_key = Snapshot { authority: Arc::new(world.snapshot.authority.with([revoked])), ..world.snapshot.clone() };
    assert!(!is_still_valid(&without_key, &key, NOW) && is_still_valid(&without_key, &caller, NOW));
}
