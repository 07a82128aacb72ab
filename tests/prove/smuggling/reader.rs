//! The reference: a strict reader of HTTP/1.1 requests, written from RFC 9112 alone, without the product's code.
//!
//! What it reads is what every program on the way must read; whatever has a second reading it refuses.

/// A request that was read whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) method: String,
    /// Path and query, without scheme and authority.
    pub(super) path: String,
    pub(super) body: Vec<u8>,
    /// Names in lower case.
    pub(super) fields: Vec<(String, Vec<u8>)>,
    /// Whether it must be answered 400: its end is clear, so that others may follow (RFC 9112 section 3.2).
    pub(super) is_bad: bool,
    /// Whether the connection ends behind it.
    pub(super) is_last: bool,
}

impl Request {
    pub(super) fn values<'r>(&'r self, name: &'r str) -> impl Iterator<Item = &'r [u8]> {
        self.fields.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_slice())
    }
}

/// What stands at the beginning of some bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum One {
    /// A request, and how many bytes it takes.
    Whole(Request, usize),
    /// The beginning of one; with its head when that is whole, its body as far as it came.
    More(Option<Request>),
    /// Something that has no reading, or several; with the head when the fault lies behind it.
    Refused(Option<Request>),
}

/// How a stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Another request may follow.
    Open,
    /// The client asked for the end.
    Closed,
    /// In the middle of a request.
    Unfinished,
    /// It must be refused.
    Refused,
}

/// A whole stream.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    pub(super) requests: Vec<Request>,
    /// A request that begins and must never be complete anywhere.
    pub(super) partial: Option<Request>,
    pub(super) end: End,
}

/// Reads everything.
pub(super) fn stream(mut bytes: &[u8]) -> Reading {
    let mut reading = Reading { requests: Vec::new(), partial: None, end: End::Open };
    loop {
        while let Some(rest) = bytes.strip_prefix(b"\r\n") {
            bytes = rest;
        }
        if bytes.is_empty() {
            return reading;
        }
        match one(bytes) {
            One::Whole(request, length) => {
                let is_last = request.is_last;
                reading.requests.push(request);
                bytes = bytes.get(length..).unwrap_or_default();
                if is_last {
                    reading.end = End::Closed;
                    return reading;
                }
            }
            One::More(partial) => {
                (reading.partial, reading.end) = (partial, End::Unfinished);
                return reading;
            }
            One::Refused(partial) => {
                (reading.partial, reading.end) = (partial, End::Refused);
                return reading;
            }
        }
    }
}

/// A line without its CR LF, and the rest behind it.
enum Line<'b> {
    Here(&'b [u8], &'b [u8]),
    NotYet,
    Bad,
}

fn line(bytes: &[u8]) -> Line<'_> {
    let Some(at) = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else { return Line::NotYet };
    let (line, rest) = bytes.split_at(at);
    match rest {
        [b'\r'] => Line::NotYet,
        [b'\r', b'\n', rest @ ..] => Line::Here(line, rest),
        _ => Line::Bad,
    }
}

/// Reads one request from the beginning of some bytes.
pub(super) fn one(bytes: &[u8]) -> One {
    let (first, mut rest) = match line(bytes) {
        Line::Here(line, rest) => (line, rest),
        Line::NotYet => return One::More(None),
        Line::Bad => return One::Refused(None),
    };
    let Some((method, path, minor)) = request_line(first) else { return One::Refused(None) };
    let mut request = Request { method, path, body: Vec::new(), fields: Vec::new(), is_bad: false, is_last: minor == 0 };
    loop {
        match line(rest) {
            Line::Here(b"", behind) => {
                rest = behind;
                break;
            }
            Line::Here(line, behind) => {
                let Some(field) = field(line) else { return One::Refused(None) };
                request.fields.push(field);
                rest = behind;
            }
            Line::NotYet => return One::More(None),
            Line::Bad => return One::Refused(None),
        }
    }
    let Some(framing) = framing(&request, minor) else { return One::Refused(None) };
    let hosts = request.values("host").count();
    request.is_bad = hosts > 1 || hosts == 0 && minor == 1;
    let tokens: Vec<String> = request
        .values("connection")
        .flat_map(|value| String::from_utf8_lossy(value).to_ascii_lowercase().split(',').map(|token| token.trim().to_owned()).collect::<Vec<_>>())
        .collect();
    request.is_last = tokens.iter().any(|token| token == "close") || minor == 0 && !tokens.iter().any(|token| token == "keep-alive");
    let taken = bytes.len() - rest.len();
    match framing {
        Framing::None => One::Whole(request, taken),
        Framing::Length(length) => {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            if let Some(body) = rest.get(..length) {
                request.body = body.to_vec();
                return One::Whole(request, taken + length);
            }
            request.body = rest.to_vec();
            One::More(Some(request))
        }
        Framing::Chunked => chunked(request, rest, taken),
    }
}

enum Framing {
    None,
    Length(u64),
    Chunked,
}

/// RFC 9112 sections 6.1 and 6.3, where it leaves no choice and where it does: refused.
fn framing(request: &Request, minor: u8) -> Option<Framing> {
    let lengths: Vec<&[u8]> = request.values("content-length").collect();
    let codings: Vec<&[u8]> = request.values("transfer-encoding").collect();
    match (lengths.as_slice(), codings.as_slice()) {
        ([], []) => Some(Framing::None),
        ([length], []) => {
            let text = std::str::from_utf8(length).ok().filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))?;
            text.parse().ok().map(Framing::Length)
        }
        ([], [coding]) if minor == 1 && coding.eq_ignore_ascii_case(b"chunked") => Some(Framing::Chunked),
        _ => None,
    }
}

fn chunked(mut request: Request, mut rest: &[u8], mut taken: usize) -> One {
    loop {
        let size = match line(rest) {
            Line::Here(line, behind) => {
                taken += rest.len() - behind.len();
                rest = behind;
                chunk_size(line)
            }
            Line::NotYet => return One::More(Some(request)),
            Line::Bad => return One::Refused(Some(request)),
        };
        let Some(size) = size else { return One::Refused(Some(request)) };
        if size == 0 {
            return trailers(request, rest, taken);
        }
        let data = usize::try_from(size).ok().and_then(|size| rest.get(..size));
        let Some(data) = data else {
            request.body.extend_from_slice(rest);
            return One::More(Some(request));
        };
        request.body.extend_from_slice(data);
        rest = rest.get(data.len()..).unwrap_or_default();
        taken += data.len();
        rest = match rest {
            [b'\r', b'\n', behind @ ..] => behind,
            [] | [b'\r'] => return One::More(Some(request)),
            _ => return One::Refused(Some(request)),
        };
        taken += 2;
    }
}

fn trailers(request: Request, mut rest: &[u8], mut taken: usize) -> One {
    loop {
        match line(rest) {
            Line::Here(line, behind) => {
                taken += rest.len() - behind.len();
                rest = behind;
                if line.is_empty() {
                    return One::Whole(request, taken);
                }
                if field(line).is_none() {
                    return One::Refused(Some(request));
                }
            }
            Line::NotYet => return One::More(Some(request)),
            Line::Bad => return One::Refused(Some(request)),
        }
    }
}

fn chunk_size(line: &[u8]) -> Option<u64> {
    let end = line.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(line.len());
    let (digits, extension) = line.split_at(end);
    // Nothing in an extension moves the end of its line.
    let is_extension = matches!(extension.first(), None | Some(b';'));
    let digits = std::str::from_utf8(digits).ok().filter(|text| !text.is_empty() && is_extension)?;
    u64::from_str_radix(digits, 16).ok()
}

/// Method, path and minor version.
fn request_line(line: &[u8]) -> Option<(String, String, u8)> {
    let mut parts = line.split(|byte| *byte == b' ');
    let (method, target, version) = (parts.next()?, parts.next()?, parts.next()?);
    let minor = match version {
        b"HTTP/1.1" => 1,
        b"HTTP/1.0" => 0,
        _ => return None,
    };
    let is_lawful = parts.next().is_none() && is_token(method) && !target.is_empty() && target.iter().all(|byte| (0x21..0x7f).contains(byte));
    let (method, target) = (std::str::from_utf8(method).ok()?, std::str::from_utf8(target).ok()?);
    is_lawful.then(|| (method.to_owned(), path(target).to_owned(), minor))
}

/// The path of an absolute target; any other target as it is. A fragment is no part of a target (RFC 9110 section 7.1): refused or left
/// out, which is the same to the service.
pub(super) fn path(target: &str) -> &str {
    let target = target.split('#').next().unwrap_or_default();
    let rest = target.split_once("://").filter(|(scheme, _)| !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    match rest {
        Some((_, rest)) => rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/"),
        None => target,
    }
}

fn field(line: &[u8]) -> Option<(String, Vec<u8>)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = line.split_at(colon);
    let value = value.get(1..)?;
    let is_lawful = is_token(name) && value.iter().all(|byte| is_text(*byte));
    let trimmed = value.iter().position(|byte| !matches!(byte, b' ' | b'\t')).and_then(|from| {
        let to = value.iter().rposition(|byte| !matches!(byte, b' ' | b'\t'))?;
        value.get(from..=to)
    });
    is_lawful.then(|| (String::from_utf8_lossy(name).to_ascii_lowercase(), trimmed.unwrap_or_default().to_vec()))
}

/// RFC 9110 section 5.6.2.
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

/// RFC 9110 section 5.5: visible characters, blanks and obs-text.
pub(super) fn is_text(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}
