use super::*;

#[test]
fn only_the_codecs_own_refusal_is_one() {
    let bare =
        "HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\ndate: Sat, 28 Nov 2026 00:00:00 GMT\r\n\r\n";

    assert_eq!(bare_refusal(bare.as_bytes()), Some(431));
    assert_eq!(bare_refusal(bare.replace("431", "400").as_bytes()), Some(400));
    for other in [
        bare.replace("431", "200"),
        bare.replace("content-length: 0", "content-length: 10"),
        bare.replace("connection: close", "x-request-id: 1"),
        bare.replace("\r\n\r\n", "\r\n"),
        format!("{bare}more"),
        bare.replace("date", &"a".repeat(300)),
    ] {
        assert_eq!(bare_refusal(other.as_bytes()), None, "{other:?}");
    }
}
