//! RFC 9112 sections 2 to 5, RFC 9110 sections 7 and 9: request lines, targets, hosts and fields.

use super::{Case, Expect, must, should};

const BAD: Expect = Expect::Refused(&[400]);

pub(super) fn cases() -> Vec<Case> {
    [lines(), targets(), hosts(), fields(), methods()].into_iter().flatten().collect()
}

fn lines() -> Vec<Case> {
    vec![
        should("9112-2.2", "an empty line before a request is passed over", |kit| [b"\r\n".to_vec(), kit.get("")].concat(), Expect::Served(1)),
        must("9112-2.2", "a bare CR is no line end", |kit| kit.get("x-a: b\rx-c: d\r\n"), BAD),
        must("9112-2.2", "a blank before the first field is refused", |kit| kit.line(&format!("GET {} HTTP/1.1\r\n x-a: b", kit.0.path)), BAD),
        should(
            "9112-2.2",
            "a bare LF is refused, or taken for a line end by a whole chain",
            |kit| String::from_utf8_lossy(&kit.get("")).replace("\r\n", "\n").into_bytes(),
            Expect::Either,
        ),
        must("9112-2.3", "another protocol's name is refused", |kit| kit.line(&format!("GET {} HTTQ/1.1", kit.0.path)), BAD),
        must("9112-2.3", "the protocol's name is upper-case", |kit| kit.line(&format!("GET {} http/1.1", kit.0.path)), BAD),
        must(
            "9112-2.3",
            "a version of another form is refused",
            |kit| kit.line(&format!("GET {} HTTP/1.11", kit.0.path)),
            Expect::Refused(&[400, 505]),
        ),
        must(
            "9110-15.6.6",
            "a major version that is not served is refused",
            |kit| kit.line(&format!("GET {} HTTP/3.0", kit.0.path)),
            Expect::Refused(&[400, 505]),
        ),
        should("9112-3", "a request line has two blanks", |kit| kit.line(&format!("GET  {}  HTTP/1.1", kit.0.path)), BAD),
        should("9112-3", "a request line does not begin with a blank", |kit| kit.line(&format!(" GET {} HTTP/1.1", kit.0.path)), BAD),
        should("9112-3", "a tab is no blank", |kit| kit.line(&format!("GET\t{}\tHTTP/1.1", kit.0.path)), BAD),
        should("9112-3", "a request without a version is refused", |kit| kit.line(&format!("GET {}", kit.0.path)), BAD),
        should(
            "9112-3",
            "a method that is too long is refused",
            |kit| kit.line(&format!("{} {} HTTP/1.1", "A".repeat(40_000), kit.0.path)),
            Expect::Refused(&[400, 501, 414, 431]),
        ),
        should(
            "9112-3",
            "a target that is too long is refused",
            |kit| kit.target(&format!("{}?{}", kit.0.path, "a".repeat(70_000))),
            Expect::Refused(&[414, 431, 400]),
        ),
        must("9112-9.2", "nonsense is refused", |_| b"\x00\x01\x02 nonsense\r\n\r\n".to_vec(), BAD),
    ]
}

fn targets() -> Vec<Case> {
    vec![
        must("9112-3.2.2", "the absolute form is taken", |kit| kit.target(&format!("https://{}{}", kit.0.authority, kit.0.path)), Expect::Served(1)),
        must(
            "9112-3.2.2",
            "the scheme of a target is read in any case",
            |kit| kit.target(&format!("HTTPS://{}{}", kit.0.authority, kit.0.path)),
            Expect::Served(1),
        ),
        must(
            "9110-7.4",
            "a scheme that is not served is refused",
            |kit| kit.target(&format!("xttp://{}{}", kit.0.authority, kit.0.path)),
            Expect::Refused(&[400, 404, 421]),
        ),
        must(
            "9110-4.2.4",
            "a user in the target is refused",
            |kit| kit.target(&format!("https://user@{}{}", kit.0.authority, kit.0.path)),
            Expect::Refused(&[400, 421]),
        ),
        must("9112-3.2", "a fragment is no part of a target", |kit| kit.target(&format!("{}#fragment", kit.0.path)), BAD),
        must("9112-3.2", "a blank is no part of a target", |kit| kit.target(&format!("{} x", kit.0.path)), BAD),
        must("9112-3.2", "a NUL is no part of a target", |kit| kit.target(&format!("{}\0", kit.0.path)), BAD),
        must("9112-3.2", "a control character is no part of a target", |kit| kit.target(&format!("{}\x01", kit.0.path)), BAD),
        must("9112-3.2", "a target is a path, a URL or *", |kit| kit.target("no/slash"), BAD),
        must("9112-3.2.3", "the authority form belongs to CONNECT", |kit| kit.target("example.com:443"), Expect::Refused(&[400, 404, 405])),
        must("9112-3.2.4", "* belongs to OPTIONS", |kit| kit.target("*"), Expect::Refused(&[400, 404, 405])),
    ]
}

fn hosts() -> Vec<Case> {
    vec![
        must("9112-3.2", "a request names its host", |kit| format!("GET {} HTTP/1.1\r\n{}\r\n", kit.0.path, kit.own()).into_bytes(), BAD),
        must("9112-3.2", "a host is named once", |kit| kit.get("host: other.example\r\n"), BAD),
        must("9112-3.2", "the same host is named once", |kit| kit.get(&format!("host: {}\r\n", kit.0.authority)), BAD),
        must("9112-3.2", "a host holds no blank", |kit| format!("GET {} HTTP/1.1\r\nhost: a b\r\n{}\r\n", kit.0.path, kit.own()).into_bytes(), BAD),
        must(
            "9112-3.2",
            "a host holds no path",
            |kit| format!("GET {} HTTP/1.1\r\nhost: a.example/b\r\n{}\r\n", kit.0.path, kit.own()).into_bytes(),
            BAD,
        ),
        must(
            "9112-3.2",
            "a host holds no user",
            |kit| format!("GET {} HTTP/1.1\r\nhost: user@{}\r\n{}\r\n", kit.0.path, kit.0.authority, kit.own()).into_bytes(),
            BAD,
        ),
        must(
            "9112-3.2",
            "a host's port is a number",
            |kit| format!("GET {} HTTP/1.1\r\nhost: a.example:8x\r\n{}\r\n", kit.0.path, kit.own()).into_bytes(),
            BAD,
        ),
    ]
}

fn fields() -> Vec<Case> {
    vec![
        must("9112-5.1", "no blank stands between a name and its colon", |kit| kit.get("x-a : b\r\n"), BAD),
        must("9112-5.2", "a folded line is refused, or unfolded", |kit| kit.get("x-a: b\r\n c\r\n"), Expect::Either),
        must("9112-5", "a field has a colon", |kit| kit.get("nothing\r\n"), BAD),
        must("9112-5", "a field has a name", |kit| kit.get(": b\r\n"), BAD),
        must("9110-5.6.2", "a name is a token", |kit| kit.get("x(a): b\r\n"), BAD),
        must("9110-5.6.2", "a name holds no control character", |kit| kit.get("x\x01a: b\r\n"), BAD),
        must("9110-5.5", "a value holds no NUL", |kit| kit.get("x-a: b\0c\r\n"), BAD),
        should("9110-5.5", "a value holds no control character", |kit| kit.get("x-a: b\x01c\r\n"), Expect::Either),
        must("9110-5.5", "blanks around a value are no part of it", |kit| kit.post("content-length: \t 1 \t \r\n", "a"), Expect::Served(1)),
        must("9110-5.5", "a value may be empty", |kit| kit.get("x-a:\r\n"), Expect::Served(1)),
        must("9110-5.1", "names are read in any case", |kit| kit.post("CONTENT-Length: 1\r\n", "a"), Expect::Served(1)),
        should("6585-5", "too many fields are refused", |kit| kit.get(&"x-many: 1\r\n".repeat(5_000)), Expect::Refused(&[431, 400])),
        should(
            "6585-5",
            "a field that is too large is refused",
            |kit| kit.get(&format!("x-large: {}\r\n", "a".repeat(200_000))),
            Expect::Refused(&[431, 400]),
        ),
        must("9110-7.6.1", "Connection may name fields that are not there", |kit| kit.get("connection: x-nothing\r\n"), Expect::Served(1)),
        must("9110-10.1.4", "TE: trailers is taken", |kit| kit.get("te: trailers\r\nconnection: te\r\n"), Expect::Served(1)),
        must(
            "9110-7.8",
            "an upgrade to something unknown is ignored",
            |kit| kit.get("connection: upgrade\r\nupgrade: nothing/1\r\n"),
            Expect::Served(1),
        ),
    ]
}

fn methods() -> Vec<Case> {
    vec![
        must(
            "9110-9.3.2",
            "the answer to HEAD has no body",
            |kit| [kit.line(&format!("HEAD {} HTTP/1.1", kit.0.path)), kit.get("")].concat(),
            Expect::HeadThenGet,
        ),
        must(
            "9110-9.3.6",
            "CONNECT opens no tunnel to a host that is not meant",
            |kit| kit.line("CONNECT 127.0.0.1:1 HTTP/1.1"),
            Expect::Refused(&[400, 403, 404, 405, 501]),
        ),
        should(
            "9110-9.3.8",
            "TRACE does not show what others may not see",
            |kit| kit.line(&format!("TRACE {} HTTP/1.1", kit.0.path)),
            Expect::Refused(&[400, 403, 405, 501]),
        ),
        must("9110-9.1", "methods are read as they are written", |kit| kit.line(&format!("get {} HTTP/1.1", kit.0.path)), Expect::Either),
    ]
}
