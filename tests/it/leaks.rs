//! Leaked keys end: reported by operators, and by secret scanners that sign what they send. Nobody can end a key by knowing its id.

use harness::client::{self, Version};
use harness::wait;
use rcgen::{KeyPair, SigningKey as _};
use serde_json::{Value, json};

use crate::operation::Station;
use crate::program::causeway;
use crate::service::ok;
use crate::site::{SOON, site};

/// Another text with the id of a key, and a checksum that is right.
fn forged(secret: &str) -> String {
    let peppers = model::key::Peppers::new([(1, model::secret::SecretKey::new([3; 32]))]).unwrap();
    let id = model::key::KeyId::parse(&secret[8..20]).unwrap();
    let text = model::key::reissue(model::key::Purpose::Live, id, &peppers, &[7; 32]).unwrap().text.expose_secret().to_owned();
    assert!(text[..20] == secret[..20] && text != secret);
    text
}

#[tokio::test]
async fn reported_keys_end_when_their_secret_was_shown_and_not_when_their_id_was() {
    let site = site().await;
    let _service = site.service("leaked", |_| ok("served"));
    let shown = site.key(json!({ "name": "shown" })).await;
    let named = site.key(json!({ "name": "named" })).await;
    let old = site.key(json!({ "name": "old" })).await;
    let rolled = site.control(reqwest::Method::POST, &format!("/v1/keys/{}/roll", old.id), Some(json!({ "overlap": 0 }))).await;
    let report = async |keys: Value| site.control(reqwest::Method::POST, "/v1/keys/leaked", Some(json!({ "keys": keys }))).await;
    let fake = forged(&named.secret);

    let first = report(json!([shown.secret, fake, old.secret, "nonsense", site.operator_token()])).await;
    let again = report(json!([shown.secret])).await;

    let outcomes = |answer: &Value| answer["items"].as_array().unwrap().iter().map(|item| item["outcome"].clone()).collect::<Vec<_>>();
    assert_eq!(outcomes(&first), ["revoked", "foreign", "foreign", "foreign", "foreign"], "{first}");
    assert_eq!(outcomes(&again), ["dead"], "{again}");
    let http = site.http(Version::Http1);
    let status = async |secret: &str| http.get(site.url("/leaked")).header("x-api-key", secret).send().await.unwrap().status().as_u16();
    wait::until("the end of the leaked key", SOON, async || status(&shown.secret).await == 401).await.unwrap();
    assert_eq!((status(&named.secret).await, status(rolled["secret"].as_str().unwrap()).await), (200, 200), "the others live");
    let key = site.control(reqwest::Method::GET, &format!("/v1/keys/{}", shown.id), None).await;
    assert_eq!((&key["state"], &key["revoked_reason"]), (&json!("revoked"), &json!("leaked")));
    for bad in [json!([]), json!(vec!["x"; 201]), json!("x")] {
        assert_eq!(report(bad).await["code"], "request-invalid");
    }
}

#[tokio::test]
async fn signed_report_of_a_scanner_ends_the_keys_and_an_unsigned_one_nothing() {
    let (scanner, stranger) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let station =
        Station::start(|text| format!("{text}\nleak_reporters:\n  github: {{ keys: [ {{ id: first, public_key: scanner.pem }} ] }}\n")).await;
    std::fs::write(station.folder().join("scanner.pem"), scanner.public_key_pem()).unwrap();
    let node = station.serve().await;
    let (leaked, kept) = (station.calls.issue("leaked").await.unwrap(), station.calls.issue("kept").await.unwrap());
    let http = client::http(station.ca(), Version::Http1).unwrap();
    let entry = |token: &str| json!({ "token": token, "type": "causeway_key", "url": "https://github.com/x/y/blob/1/z", "source": "content" });
    let body = json!([entry(&leaked.secret), entry(&forged(&kept.secret)), entry("cw_live_nothing")]).to_string();
    let send = async |reporter: &str, id: &str, signature: String, body: &str| {
        let request = http.post(format!("{}/v1/leaks/{reporter}", station.region.control)).header("content-type", "application/json");
        let request = request.header("github-public-key-identifier", id).header("github-public-key-signature", signature).body(body.to_owned());
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), serde_json::from_slice::<Value>(&answer.bytes().await.unwrap()).unwrap())
    };
    let sign = |key: &KeyPair, body: &str| data_encoding::BASE64.encode(&key.sign(body.as_bytes()).unwrap());

    for (reporter, id, signature, expected) in [
        ("gitlab", "first", sign(&scanner, &body), 404),
        ("github", "second", sign(&scanner, &body), 401),
        ("github", "first", sign(&stranger, &body), 401),
        ("github", "first", sign(&scanner, "[]"), 401),
        ("github", "first", String::new(), 401),
    ] {
        assert_eq!(send(reporter, id, signature, &body).await.0, expected, "{reporter} {id}");
    }
    let path = format!("/v1/keys/{}", leaked.id);
    assert_eq!(station.calls.control(&station.region, &path).await.unwrap().json()["state"], "active", "nothing was done so far");

    let (status, labels) = send("github", "first", sign(&scanner, &body), &body).await;

    assert_eq!(status, 200, "{labels}");
    let said: Vec<_> = labels.as_array().unwrap().iter().map(|label| label["label"].as_str().unwrap()).collect();
    assert_eq!(said, ["true_positive", "false_positive", "false_positive"], "{labels}");
    assert!(!labels.to_string().contains(&leaked.secret[21..64]), "the answer repeats the secret");
    let shown = station.calls.control(&station.region, &path).await.unwrap().json();
    assert_eq!((&shown["state"], &shown["revoked_by"]), (&json!("revoked"), &json!("reporter:github")), "{shown}");
    let kept = station.calls.control(&station.region, &format!("/v1/keys/{}", kept.id)).await.unwrap().json();
    assert_eq!(kept["state"], "active");
    let records = wait::some("the record", SOON, async || {
        let answer = station.calls.control(&station.region, "/v1/audit/events?action=key.leak").await.ok()?.json();
        answer["items"].as_array().filter(|items| !items.is_empty()).cloned()
    });
    let records = records.await.unwrap().0;
    assert_eq!((records.len(), &records[0]["actor"]), (1, &json!("reporter:github")), "{records:?}");
    node.process.kill().await.unwrap();

    std::fs::write(station.folder().join("scanner.pem"), "no key").unwrap();
    let config = station.arguments();
    let checked = causeway(&["check", config.last().unwrap().to_str().unwrap()], &[], SOON).await.expect(1);
    assert!(checked.stderr.contains("is no key of a leak reporter") || checked.stdout.contains("is no key of a leak reporter"), "{checked:?}");
}
