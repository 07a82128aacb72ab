//! A service that only its own region's gateways can reach: those of other regions hand requests to them.

use std::collections::BTreeMap;

use harness::client::Version;
use harness::node::Under;
use harness::upstream::{Behavior, Seen};
use harness::wait;
use reqwest::{Client, StatusCode};
use serde_json::Value;

use crate::client_certificates::place::{Ca, Holder};

mod beside;
mod cut_off;
mod misdirected;
mod place;
mod rpc;
mod stage;

use place::{Place, WITHIN, gateway, name_of};

/// What differs from exchange to exchange.
const OWN: [&str; 2] = ["via", "x-request-id"];

fn header<'a>(headers: &'a http::HeaderMap, name: &str) -> &'a str {
    headers.get(name).map_or("", |value| value.to_str().unwrap())
}

/// All that the service sees of a request, but what differs from exchange to exchange.
fn shape(seen: &Seen) -> (String, String, BTreeMap<String, Vec<String>>, Vec<u8>) {
    let mut fields: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in seen.headers.iter().filter(|(name, _)| !OWN.contains(&name.as_str())) {
        // A token that says who calls has its own number.
        let text = if name == "causeway-principal" { "a token" } else { value.to_str().unwrap() };
        fields.entry(name.to_string()).or_default().push(text.to_owned());
    }
    (seen.method.to_string(), seen.target.clone(), fields, seen.body.clone().unwrap().to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_crosses_reaches_the_service_as_if_its_client_had_called_the_other_region() {
    let place = Place::start().await;
    let key = place.calls.issue("crossing").await.unwrap();
    let (eu, us) = (place.region("eu-west").clone(), place.region("us-east").clone());
    for (path, is_known) in [("/far/a%20b/c?x=1&y=%2F", false), ("/known/thing", true)] {
        let mut shapes = Vec::new();
        for region in [&eu, &us] {
            let request = place.client.post(format!("{}{path}", region.data)).header("cookie", "a=1; b=2").header("x-mine", "yes");
            let request = request.header("causeway-service", "mine").header("x-forwarded-for", "203.0.113.1").body("some text");
            let request = if is_known { request.header("x-api-key", &key.secret) } else { request };
            let answer = request.timeout(WITHIN).send().await.unwrap();
            let headers = answer.headers().clone();
            assert_eq!((answer.status(), header(&headers, "causeway-region")), (StatusCode::OK, "eu-west"), "{headers:?}");
            assert_eq!((answer.text().await.unwrap().as_str(), header(&headers, "causeway-crossing")), ("far", ""));
            let seen = place.seen();
            let id = header(&seen.headers, "x-request-id").to_owned();
            assert_eq!(id, header(&headers, "x-request-id"), "one id from end to end");
            let vias: Vec<&str> = seen.headers.get_all("via").iter().map(|via| via.to_str().unwrap()).collect();
            assert_eq!(
                vias.iter().map(|via| via.contains("causeway-us-east")).collect::<Vec<_>>(),
                if region.name == "us-east" { vec![true, false] } else { vec![false] }
            );
            assert_eq!(seen.headers.contains_key("causeway-principal"), is_known, "the service asks who calls");
            let of_both = if region.name == "us-east" { "eu-west us-east" } else { "eu-west" };
            wait::until("the records", WITHIN, async || recorded(&place, &id).await == of_both).await.unwrap();
            shapes.push(shape(&seen));
        }
        assert_eq!(shapes[0], shapes[1]);
    }
    place.stop().await;
}

/// The regions whose gateways have recorded what became of a request.
async fn recorded(place: &Place, id: &str) -> String {
    let select = format!("select distinct region from audit_event where phase = 'outcome' and request_id = '{id}' order by region");
    place.ask(&select).await.join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_but_another_regions_gateway_hands_requests_over() {
    let place = Place::start().await;
    let address = place.region("eu-west").data_address().unwrap();
    let (ours, others) = (gateway(&place.ca, &name_of("us-east")), Ca::root("others"));
    let call_for = async |holder: Option<&Holder>, field: &str, path: &str| {
        let roots = [place.ca.pem()].map(|pem| reqwest::Certificate::from_pem(pem.as_bytes()).unwrap());
        let builder = Client::builder().http1_only().tls_certs_only(roots).no_proxy().resolve(&name_of("eu-west"), address);
        let builder = holder.into_iter().fold(builder, |builder, holder| builder.identity(holder.identity()));
        let url = format!("https://{}:{}{path}", name_of("eu-west"), address.port());
        let before = place.far.seen().len();
        // As a gateway does: for the host that its client has named, on a connection to the gateway's.
        let request = builder.build().unwrap().get(url).header("host", "localhost").header("causeway-crossing", field);
        let answer = request.timeout(WITHIN).send().await.unwrap();
        let told = header(answer.headers(), "causeway-crossing").to_owned();
        (answer.status().as_u16(), told, place.far.seen().len() - before)
    };
    let call = async |holder: Option<&Holder>, field: &str| call_for(holder, field, "/known/thing").await;
    let said = |from: &str, route: &str| format!("from=\"{from}\", client=\"203.0.113.7\", route=\"{route}\", service=\"far\"");
    let right = said("us-east", "known");

    assert_eq!(call(Some(&ours), &right).await, (200, "served".to_owned(), 1));
    assert_eq!(header(&place.seen().headers, "x-forwarded-for"), "203.0.113.7");
    // Whoever is no gateway that this one knows is not served as if it were a client: its connection may be one that was made too early.
    let stranger = (421, "refused=\"certificate-not-asked\";sent".to_owned(), 0);
    assert_eq!(call(None, &right).await, stranger, "without a certificate");
    assert_eq!(call(Some(&gateway(&others, &name_of("us-east"))), &right).await, stranger, "of another authority");
    assert_eq!(call(Some(&gateway(&place.ca, "client.internal")), &right).await, stranger, "under another name");
    assert_eq!(call(Some(&gateway(&place.ca, &name_of("ap-south"))), &said("ap-south", "known")).await, stranger, "of no region");
    assert_eq!(call(Some(&gateway(&place.ca, &name_of("eu-west"))), &right).await, stranger, "one region's in another one's name");
    assert_eq!(call(Some(&ours), "from=\"us-east\"").await, stranger, "without saying what it is about");
    // Gateways are told why.
    let refused = |status, code: &str| (status, format!("refused=\"{code}\""), 0);
    assert_eq!(call(Some(&ours), &said("us-east", "gone")).await, refused(503, "region-unavailable"));
    assert_eq!(call(Some(&ours), &right.replace("\"far\"", "\"either\"")).await, refused(503, "region-unavailable"), "no service of the route");
    assert_eq!(call_for(Some(&ours), &right, "/far/thing").await, refused(503, "region-unavailable"), "the route is not one for this path");
    let own = gateway(&place.ca, &name_of("eu-west"));
    assert_eq!(call(Some(&own), &said("eu-west", "known")).await, (508, "refused=\"loop-detected\";sent".to_owned(), 0));
    place.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_behind_a_gateway_that_fails_is_refused_or_served_elsewhere() {
    let mut place = Place::start().await;
    let us = place.region("us-east").clone();
    let code = async |place: &Place, path: &str| {
        let answer = place.get(&us, path).await;
        let (status, region) = (answer.status().as_u16(), header(answer.headers(), "causeway-region").to_owned());
        let body: Value = answer.json().await.unwrap_or_default();
        (status, body["code"].as_str().unwrap_or_default().to_owned(), region)
    };
    let [far, nobody] = [(200, String::new(), "eu-west".to_owned()), (502, "upstream-unreachable".to_owned(), String::new())];
    assert_eq!(code(&place, "/far/").await, far);
    assert_eq!(code(&place, "/either/").await, (200, String::new(), "us-east".to_owned()), "it runs here, too");
    assert_eq!(code(&place, "/talk").await, far, "a request that asks for no WebSocket");
    let handshake = place.http(Version::Http1).get(format!("{}/talk", us.data));
    let handshake = handshake.header("connection", "upgrade").header("upgrade", "websocket").header("sec-websocket-version", "13");
    let refused = handshake.header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==").timeout(WITHIN).send().await.unwrap();
    assert_eq!(refused.json::<Value>().await.unwrap()["code"], "region-unavailable");

    // The service closes without an answer: its own gateway says so, and this one passes on what it says.
    place.far.behave(Behavior::close_early());
    assert_eq!(code(&place, "/far/").await.1, nobody.1);
    place.far.behave(Behavior::ok("far"));
    wait::until("the service again", WITHIN, async || code(&place, "/far/").await == far).await.unwrap();

    place.nodes.get_mut("eu-west").unwrap().kill().await.unwrap();
    assert_eq!(code(&place, "/far/").await, nobody);
    place.nodes.get_mut("eu-west").unwrap().start(Under::Bare).await.unwrap();
    wait::until("the gateway again", WITHIN, async || code(&place, "/far/").await == far).await.unwrap();
    place.stop().await;
}
