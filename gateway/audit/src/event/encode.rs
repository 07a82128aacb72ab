//! The canonical form, written by hand: this runs once for every request, and a generic serializer costs several times as
//! much. The tests hold it against `serde_json`.

use super::{Event, Personal};

/// RFC 8785 takes numbers as IEEE doubles; above this, two integers could share one text.
const INTEGER_MAX: u64 = (1 << 53) - 1;

/// Ends a text that was cut.
const ELLIPSIS: &str = "\u{2026}";

/// A member's key with what stands before its value. Every key is a plain word of ours, so none needs escaping.
macro_rules! key {
    ($key:literal) => {
        concat!(",\"", $key, "\":")
    };
}

/// Appends the canonical form. Keys stand in code-point order (RFC 8785 §3.2.3); the numbers are each text's limit in
/// encoded bytes, chosen so that all of them together fit the reserved space. The form has always a first member, whose comma
/// becomes the brace.
pub(super) fn encode(event: &Event<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    let mut object = Object { out };
    object.text(key!("action"), event.action, 48);
    object.text(key!("actor"), event.actor, 64);
    object.text(key!("api_operation"), event.api_operation, 64);
    object.text(key!("application"), event.application, 64);
    object.text(key!("auth_method"), event.auth_method, 30);
    object.integer(key!("authority_revision"), event.authority_revision);
    object.text(key!("certificate"), event.certificate, 44);
    object.word(key!("class"), event.class.as_str());
    object.text(key!("consistency"), event.consistency, 48);
    object.text(key!("consumer"), event.consumer, 48);
    object.integer(key!("count"), event.count);
    object.word(key!("decision"), event.decision.as_str());
    object.integer(key!("duration_us"), event.duration_us);
    object.integer(key!("epoch"), event.epoch);
    let mut id = uuid::Uuid::encode_buffer();
    object.word(key!("event_id"), event.event_id.as_hyphenated().encode_lower(&mut id));
    object.text(key!("host"), event.host, 256);
    object.text(key!("issuer"), event.issuer, 64);
    object.text(key!("key_id"), event.key_id, 40);
    object.text(key!("limiter"), event.limiter, 40);
    object.text(key!("method"), event.method, 24);
    object.text(key!("node"), Some(event.node), 64);
    object.text(key!("object"), event.object, 128);
    object.word(key!("outcome"), event.outcome.as_str());
    object.text(key!("path"), event.path, 548);
    object.personal(&event.personal);
    object.word(key!("phase"), event.phase.as_str());
    object.text(key!("principal_kind"), event.principal_kind, 16);
    object.text(key!("protocol"), event.protocol, 8);
    object.text(key!("reason"), event.reason, 48);
    object.text(key!("region"), Some(event.region), 64);
    object.integer(key!("request_bytes"), event.request_bytes);
    object.text(key!("request_id"), Some(event.request_id), 64);
    object.integer(key!("response_bytes"), event.response_bytes);
    object.text(key!("route"), event.route, 64);
    object.text(key!("scheme"), event.scheme, 16);
    object.integer(key!("severity"), Some(u64::from(event.severity)));
    object.text(key!("sni"), event.sni, 256);
    object.integer(key!("status"), event.status.map(u64::from));
    object.integer(key!("structural_revision"), event.structural_revision);
    object.text(key!("target_region"), event.target_region, 64);
    object.text(key!("tenant"), event.tenant, 48);
    object.signed(key!("time_us"), event.time_us);
    object.text(key!("tls_cipher"), event.tls_cipher, 48);
    object.text(key!("tls_group"), event.tls_group, 32);
    object.text(key!("tls_version"), event.tls_version, 8);
    object.text(key!("traceparent"), event.traceparent, 64);
    object.text(key!("upstream"), event.upstream, 64);
    object.text(key!("upstream_address"), event.upstream_address, 64);
    object.integer(key!("upstream_status"), event.upstream_status.map(u64::from));
    object.integer(key!("upstream_us"), event.upstream_us);
    object.integer(key!("v"), Some(1));
    open_at(object.out, start);
    object.out.push(b'}');
}

/// One JSON object under construction.
struct Object<'o> {
    out: &'o mut Vec<u8>,
}

impl Object<'_> {
    fn key(&mut self, key: &'static str) {
        self.out.extend_from_slice(key.as_bytes());
    }

    fn text(&mut self, key: &'static str, value: Option<&str>, bytes_max: usize) {
        if let Some(value) = value {
            self.key(key);
            string(self.out, value, bytes_max);
        }
    }

    /// A text of ours that is short and needs no escaping.
    fn word(&mut self, key: &'static str, value: &str) {
        self.key(key);
        self.out.push(b'"');
        self.out.extend_from_slice(value.as_bytes());
        self.out.push(b'"');
    }

    fn integer(&mut self, key: &'static str, value: Option<u64>) {
        if let Some(value) = value {
            self.key(key);
            digits(self.out, value.min(INTEGER_MAX));
        }
    }

    fn signed(&mut self, key: &'static str, value: i64) {
        self.key(key);
        if value < 0 {
            self.out.push(b'-');
        }
        digits(self.out, value.unsigned_abs().min(INTEGER_MAX));
    }

    /// The envelope: `alg` says how `data` is sealed; `none` holds it in clear.
    fn personal(&mut self, personal: &Personal<'_>) {
        self.key(",\"personal\":{\"alg\":\"none\",\"data\":");
        let start = self.out.len();
        self.text(key!("client_address"), personal.client_address, 48);
        self.text(key!("subject"), personal.subject, 128);
        self.text(key!("user_agent"), personal.user_agent, 256);
        open_at(self.out, start);
        self.out.extend_from_slice(b"}}");
    }
}

/// Opens the object whose members were written from `start` on: the first one's comma becomes the brace.
fn open_at(out: &mut Vec<u8>, start: usize) {
    match out.get_mut(start) {
        Some(comma) => *comma = b'{',
        None => out.push(b'{'),
    }
}

/// Decimal digits, without a detour over `fmt`.
fn digits(out: &mut Vec<u8>, mut value: u64) {
    // 2^64 - 1 has 20.
    let mut text = [0; 20];
    let mut used = 0;
    for place in text.iter_mut().rev() {
        *place = b'0' + u8::try_from(value % 10).unwrap_or(0);
        value /= 10;
        used += 1;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(text.get(text.len() - used..).unwrap_or_default());
}

/// A quoted string of at most `bytes_max` encoded bytes (without the quotes).
fn string(out: &mut Vec<u8>, value: &str, bytes_max: usize) {
    out.push(b'"');
    // Without a way out of the loop the compiler looks at 16 and more bytes at once.
    let special = |byte: u8| u8::from(byte < 0x20) | u8::from(byte == b'"') | u8::from(byte == b'\\');
    let plain = value.bytes().fold(0, |found, byte| found | special(byte)) == 0;
    if plain && value.len() <= bytes_max {
        out.extend_from_slice(value.as_bytes());
    } else {
        escaped(out, value, bytes_max);
    }
    out.push(b'"');
}

/// The slow path: escapes, and a cut where the text is too long.
fn escaped(out: &mut Vec<u8>, value: &str, bytes_max: usize) {
    let whole = value.chars().try_fold(0_usize, |sum, character| {
        let sum = sum + encoded_bytes(character);
        (sum <= bytes_max).then_some(sum)
    });
    let budget = if whole.is_some() { bytes_max } else { bytes_max.saturating_sub(ELLIPSIS.len()) };
    let mut used = 0;
    for character in value.chars() {
        used += encoded_bytes(character);
        if used > budget {
            break;
        }
        push(out, character);
    }
    if whole.is_none() {
        out.extend_from_slice(ELLIPSIS.as_bytes());
    }
}

/// How many bytes [`push`] writes.
const fn encoded_bytes(character: char) -> usize {
    match character {
        '"' | '\\' | '\u{8}' | '\t' | '\n' | '\u{c}' | '\r' => 2,
        '\0'..='\u{1f}' => 6,
        _ => character.len_utf8(),
    }
}

/// RFC 8785 §3.2.2.2: two-character escapes where JSON has one, lower-case hex for the other controls, and everything else
/// as it is.
fn push(out: &mut Vec<u8>, character: char) {
    let short = match character {
        '"' => b'"',
        '\\' => b'\\',
        '\u{8}' => b'b',
        '\t' => b't',
        '\n' => b'n',
        '\u{c}' => b'f',
        '\r' => b'r',
        '\0'..='\u{1f}' => {
            let code = u8::try_from(character).unwrap_or(0);
            out.extend_from_slice(b"\\u00");
            out.push(b'0' + (code >> 4));
            let low = code & 0xf;
            out.push(if low < 10 { b'0' + low } else { b'a' + low - 10 });
            return;
        }
        _ => {
            let mut utf8 = [0; 4];
            out.extend_from_slice(character.encode_utf8(&mut utf8).as_bytes());
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}
