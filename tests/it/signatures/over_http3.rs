//! The same over HTTP/3: what is signed does not depend on the version.

use bytes::Bytes;
use harness::http3::{Client, Content};
use http::Request;

use super::place::{Draft, Place, Signing};

#[tokio::test(flavor = "multi_thread")]
async fn signatures_hold_over_http3_and_nothing_that_is_made_of_them() {
    let place = Place::start().await;
    let mut client = Client::connect(place.station.address(), None, "127.0.0.1", place.station.ca()).await.unwrap();
    let mut judged = async |draft: &Draft, by: &Signing, target: &str, body: &str| {
        let port = place.station.address().port();
        let authority = format!("127.0.0.1:{port}");
        let request = Request::builder().method(draft.method).uri(format!("https://{authority}{target}"));
        let fields = draft.signed(by, &authority);
        let request = fields.iter().fold(request, |request, (name, value)| request.header(name, value)).body(()).unwrap();
        let pieces = if body.is_empty() { Vec::new() } else { vec![Bytes::from(body.to_owned())] };
        client.send(request, Content { pieces, trailers: None }).await.unwrap().status
    };

    for signer in &place.signers {
        let draft = Draft::post("/signed/x?a=1", "by http3");
        assert_eq!(judged(&draft, signer, "/signed/x?a=1", "by http3").await, 200, "{}", signer.name);
        assert_eq!(place.service.seen().pop().unwrap().body, b"by http3");
        for (target, body) in [("/signed/x?a=2", "by http3"), ("/signed/y?a=1", "by http3"), ("/signed/x?a=1", "by http2"), ("/signed/x?a=1", "")] {
            assert_eq!(judged(&draft, signer, target, body).await, 401, "{} {target} {body}", signer.name);
        }
        assert_eq!(judged(&Draft::get("/signed/x"), signer, "/signed/x", "").await, 200, "{}", signer.name);
    }
    let once = Draft::get("/once/x").with(";nonce=\"over-http3\"");
    assert_eq!(judged(&once, place.partner(), "/once/x", "").await, 200);
    assert_eq!(judged(&once, place.partner(), "/once/x", "").await, 401, "a copy");
    assert_eq!(place.judged(&once, place.partner()).await.0, 401, "a copy over another version");
    assert_eq!(place.service.seen().len(), 2 * place.signers.len() + 1);
    place.stop().await;
}
