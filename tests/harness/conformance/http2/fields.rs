//! RFC 9113 section 8.2: what names and values may hold, and which fields do not exist here.

use super::{Case, Expect, must, send, whole};
use crate::frames::block;

const MALFORMED: Expect = Expect::Refused(1);

/// A request with one more field.
macro_rules! field {
    ($section:literal, $text:literal, $name:expr, $value:expr, $expect:expr) => {
        must($section, $text, |kit| send([whole(1, &[kit.block("GET", &[]), block(&[(&$name[..], &$value[..])])].concat())]), $expect)
    };
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        field!("9113-8.2.1", "names are lower-case", b"X-Upper", b"1", MALFORMED),
        field!("9113-8.2.1", "names hold no blank", b"x a", b"1", MALFORMED),
        field!("9113-8.2.1", "names hold no colon but in front", b"x:a", b"1", MALFORMED),
        field!("9113-8.2.1", "names hold no control character", b"x\x01a", b"1", MALFORMED),
        field!("9113-8.2.1", "names hold no NUL", b"x\0a", b"1", MALFORMED),
        field!("9113-8.2.1", "names hold no line end", b"x\r\na", b"1", MALFORMED),
        field!("9113-8.2.1", "names hold no DEL", b"x\x7fa", b"1", MALFORMED),
        field!("9113-8.2.1", "names are ASCII", b"x-\xe4", b"1", MALFORMED),
        field!("9110-5.1", "names are not empty", b"", b"1", MALFORMED),
        field!("9113-8.2.1", "values hold no NUL", b"x-a", b"a\0b", MALFORMED),
        field!("9113-8.2.1", "values hold no CR", b"x-a", b"a\rb", MALFORMED),
        field!("9113-8.2.1", "values hold no LF", b"x-a", b"a\nb", MALFORMED),
        field!("9113-8.2.1", "values hold no line of their own", b"x-a", b"a\r\nx-b: c", MALFORMED),
        field!("9113-8.2.1", "values do not begin with a blank", b"x-a", b" a", MALFORMED),
        field!("9113-8.2.1", "values do not end with a blank", b"x-a", b"a ", MALFORMED),
        field!("9113-8.2.1", "values do not begin with a tab", b"x-a", b"\ta", MALFORMED),
        field!("9110-5.5", "values may be empty", b"x-a", b"", Expect::Served(1)),
        field!("9110-5.5", "values may hold tabs and quotes", b"x-a", b"a\t\"b\"", Expect::Served(1)),
        field!("9113-8.2.2", "Connection is malformed", b"connection", b"close", MALFORMED),
        field!("9113-8.2.2", "Keep-Alive is malformed", b"keep-alive", b"timeout=5", MALFORMED),
        field!("9113-8.2.2", "Proxy-Connection is malformed", b"proxy-connection", b"keep-alive", MALFORMED),
        field!("9113-8.2.2", "Transfer-Encoding is malformed", b"transfer-encoding", b"chunked", MALFORMED),
        field!("9113-8.2.2", "Upgrade is malformed", b"upgrade", b"websocket", MALFORMED),
        field!("9113-8.2.2", "TE other than trailers is malformed", b"te", b"gzip", MALFORMED),
        field!("9113-8.2.2", "TE with more than trailers is malformed", b"te", b"trailers, deflate", MALFORMED),
        field!("9113-8.2.2", "TE: trailers is taken", b"te", b"trailers", Expect::Served(1)),
        must("9113-8.2.3", "Cookie may come in pieces", |kit| send([kit.get_with(1, &[("cookie", "a=1"), ("cookie", "b=2")])]), Expect::Served(1)),
        must("9110-5.3", "a field may be repeated", |kit| send([kit.get_with(1, &[("accept", "a/b"), ("accept", "*/*")])]), Expect::Served(1)),
    ]
}
