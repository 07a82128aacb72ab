//! The canonical form, written by hand: this runs once for every request, and a generic serializer costs several times as
//! much. The tests hold it against `serde_json`.

use super::{Event, Personal};

/// RFC 8785 takes numbers as IEEE doubles; above this, two integers could share one text.
const INTEGER_MAX: u64 = (1 << 53) - 1;

/// Ends a text that was cut.
const ELLIPSIS: &str = "\u{2026}";

/// Appends the canonical form. Keys stand in code-point order (RFC 8785 §3.2.3); the numbers are each text's limit in
/// encoded bytes, chosen so that all of them together fit the reserved space.
pub(super) fn encode(event: &Event<'_>, out: &mut Vec<u8>) {
    let mut object = Object::open(out);
    object.text("action", event.action, 48);
    object.text("actor", event.actor, 64);
    object.text("api_operation", event.api_operation, 64);
    object.text("application", event.application, 48);
    object.text("auth_method", event.auth_method, 24);
    object.integer("authority_revision", event.authority_revision);
    object.text("class", Some(event.class.as_str()), 16);
    object.text("consistency", event.consistency, 48);
    object.text("consumer", event.consumer, 48);
    object.integer("count", event.count);
    object.text("decision", Some(event.decision.as_str()), 16);
    object.integer("duration_us", event.duration_us);
    object.integer("epoch", event.epoch);
    let mut id = uuid::Uuid::encode_buffer();
    object.text("event_id", Some(event.event_id.as_hyphenated().encode_lower(&mut id)), 36);
    object.text("host", event.host, 256);
    object.text("key_id", event.key_id, 40);
    object.text("limiter", event.limiter, 40);
    object.text("method", event.method, 24);
    object.text("node", Some(event.node), 64);
    object.text("object", event.object, 128);
    object.text("outcome", Some(event.outcome.as_str()), 16);
    object.text("path", event.path, 640);
    object.personal(&event.personal);
    object.text("phase", Some(event.phase.as_str()), 16);
    object.text("principal_kind", event.principal_kind, 16);
    object.text("protocol", event.protocol, 8);
    object.text("reason", event.reason, 48);
    object.text("region", Some(event.region), 64);
    object.integer("request_bytes", event.request_bytes);
    object.text("request_id", Some(event.request_id), 64);
    object.integer("response_bytes", event.response_bytes);
    object.text("route", event.route, 64);
    object.text("scheme", event.scheme, 16);
    object.integer("severity", Some(u64::from(event.severity)));
    object.text("sni", event.sni, 256);
    object.integer("status", event.status.map(u64::from));
    object.integer("structural_revision", event.structural_revision);
    object.text("target_region", event.target_region, 64);
    object.text("tenant", event.tenant, 48);
    object.signed("time_us", event.time_us);
    object.text("tls_cipher", event.tls_cipher, 48);
    object.text("tls_group", event.tls_group, 32);
    object.text("tls_version", event.tls_version, 8);
    object.text("traceparent", event.traceparent, 64);
    object.text("upstream", event.upstream, 64);
    object.text("upstream_address", event.upstream_address, 64);
    object.integer("upstream_status", event.upstream_status.map(u64::from));
    object.integer("upstream_us", event.upstream_us);
    object.integer("v", Some(1));
    object.close();
}

/// One JSON object under construction.
struct Object<'o> {
    out: &'o mut Vec<u8>,
    /// `{` before the first key, `,` before the others.
    before: u8,
}

impl<'o> Object<'o> {
    const fn open(out: &'o mut Vec<u8>) -> Self {
        Self { out, before: b'{' }
    }

    /// Every key is a plain word of ours, so none needs escaping.
    fn key(&mut self, key: &str) {
        self.out.push(self.before);
        self.before = b',';
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn text(&mut self, key: &str, value: Option<&str>, bytes_max: usize) {
        if let Some(value) = value {
            self.key(key);
            string(self.out, value, bytes_max);
        }
    }

    fn integer(&mut self, key: &str, value: Option<u64>) {
        if let Some(value) = value {
            self.key(key);
            digits(self.out, value.min(INTEGER_MAX));
        }
    }

    fn signed(&mut self, key: &str, value: i64) {
        self.key(key);
        if value < 0 {
            self.out.push(b'-');
        }
        digits(self.out, value.unsigned_abs().min(INTEGER_MAX));
    }

    /// The envelope: `alg` says how `data` is sealed; `none` holds it in clear.
    fn personal(&mut self, personal: &Personal<'_>) {
        self.key("personal");
        let mut envelope = Object::open(self.out);
        envelope.text("alg", Some("none"), 8);
        envelope.key("data");
        let mut data = Object::open(envelope.out);
        data.text("client_address", personal.client_address, 48);
        data.text("user_agent", personal.user_agent, 256);
        data.close();
        envelope.close();
    }

    fn close(self) {
        if self.before == b'{' {
            self.out.push(b'{');
        }
        self.out.push(b'}');
    }
}

/// Decimal digits, without a detour over `fmt`.
fn digits(out: &mut Vec<u8>, mut value: u64) {
    let start = out.len();
    loop {
        let digit = u8::try_from(value % 10).unwrap_or(0);
        out.push(b'0' + digit);
        value /= 10;
        if value == 0 {
            break;
        }
    }
    if let Some(written) = out.get_mut(start..) {
        written.reverse();
    }
}

/// A quoted string of at most `bytes_max` encoded bytes (without the quotes).
fn string(out: &mut Vec<u8>, value: &str, bytes_max: usize) {
    out.push(b'"');
    let plain = value.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\');
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
