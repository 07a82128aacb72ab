//! Reading a JSON body within limits: every refusal names its place, and no input makes the reader recurse further
//! than its depth limit.
//!
//! Source: RFC 8259; duplicate names are refused because RFC 8259 §4 leaves their meaning open, so that the gateway and
//! the service behind it could read two different documents.

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::{FieldError, Place, pointer};

/// `serde_json` itself stops at 128 levels; ours must stop first, because it knows the place.
const DEPTH_CEILING: u16 = 120;

/// An array element costs a fraction of an object member, and lists of numbers are honest traffic.
const VALUES_PER_KEY: u32 = 16;

/// How much structure one request body may have.
///
/// The number of bytes is limited where the body is received, before this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonLimits {
    /// Levels of nesting: `[]` is one. Values above 120 count as 120.
    pub depth_max: u16,
    /// Object members in the whole body. Values of every kind together may be sixteen times as many.
    pub keys_max: u32,
    /// Bytes of one string or member name after unescaping.
    pub string_bytes_max: u32,
    /// Bytes of one number as written.
    pub number_bytes_max: u16,
}

impl Default for JsonLimits {
    /// 64 levels, 10,000 members, 256 KiB a string, 64 bytes a number: 30,000 minimal members would already parse to 8 MiB.
    fn default() -> Self {
        Self { depth_max: 64, keys_max: 10_000, string_bytes_max: 262_144, number_bytes_max: 64 }
    }
}

/// A body that was read: its value, and of how many values it consists.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) value: Value,
    pub(super) n_values: u32,
}

/// Reads `body` within `limits`.
///
/// # Errors
///
/// One `FieldError`, for the first offense: `encoding`, `syntax`, `duplicate`, `depth`, `keys`, `values`, `string` or
/// `number`.
pub(super) fn read(body: &[u8], limits: JsonLimits) -> Result<Body, FieldError> {
    let text = std::str::from_utf8(body).map_err(|error| whole("encoding", format!("is not valid UTF-8 at byte {}", error.valid_up_to())))?;
    if let Some(at) = overlong_number(body, usize::from(limits.number_bytes_max)) {
        let message = format!("has a number longer than {} bytes at byte {at}", limits.number_bytes_max);
        return Err(whole("number", message));
    }

    let mut reader = Reader { limits, n_keys: 0, n_values: 0, refusal: None };
    let mut source = serde_json::Deserializer::from_str(text);
    let read = Element { reader: &mut reader, depth: 0 }.deserialize(&mut source);
    match read.and_then(|value| source.end().map(|()| value)) {
        Ok(value) => Ok(Body { value, n_values: reader.n_values }),
        Err(error) => Err(reader.refusal.map_or_else(|| syntax(&error), Refusal::into_error)),
    }
}

fn whole(keyword: &'static str, message: String) -> FieldError {
    FieldError { place: Place::Pointer(String::new()), keyword, message }
}

fn syntax(error: &serde_json::Error) -> FieldError {
    let problem = if error.is_eof() { "ends too early" } else { "is not valid JSON" };
    whole("syntax", format!("{problem} at line {}, column {}", error.line(), error.column()))
}

/// Finds the first number of more than `bytes_max` bytes. `serde_json` hands over numbers already parsed, and a body may
/// hold a megabyte of digits, so the text is scanned first.
fn overlong_number(body: &[u8], bytes_max: usize) -> Option<usize> {
    let mut in_string = false;
    let mut is_escaped = false;
    let mut run = 0_usize;
    for (at, byte) in body.iter().enumerate() {
        if in_string {
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' => is_escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => (in_string, run) = (true, 0),
            b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E' => {
                run += 1;
                if run > bytes_max {
                    return Some(at + 1 - run);
                }
            }
            _ => run = 0,
        }
    }
    None
}

struct Reader {
    limits: JsonLimits,
    n_keys: u32,
    n_values: u32,
    refusal: Option<Refusal>,
}

/// Why reading stopped. Each level adds its segment while the error travels up, so the good case pays nothing for it.
struct Refusal {
    keyword: &'static str,
    message: String,
    segments: Vec<String>,
}

impl Refusal {
    fn into_error(self) -> FieldError {
        let mut place = String::new();
        for segment in self.segments.iter().rev() {
            pointer::push_cut(&mut place, segment);
        }
        FieldError { place: Place::Pointer(place), keyword: self.keyword, message: self.message }
    }
}

impl Reader {
    fn refuse<E: serde::de::Error>(&mut self, keyword: &'static str, message: String) -> E {
        self.refusal = Some(Refusal { keyword, message, segments: Vec::new() });
        E::custom("refused")
    }

    fn locate(&mut self, segment: impl FnOnce() -> String) {
        if let Some(refusal) = &mut self.refusal {
            refusal.segments.push(segment());
        }
    }

    fn count_value<E: serde::de::Error>(&mut self) -> Result<(), E> {
        self.n_values += 1;
        let values_max = self.limits.keys_max.saturating_mul(VALUES_PER_KEY);
        if self.n_values > values_max {
            return Err(self.refuse("values", format!("is one value more than the {values_max} allowed")));
        }
        Ok(())
    }

    fn check_string<E: serde::de::Error>(&mut self, text: &str, noun: &str) -> Result<(), E> {
        let bytes_max = self.limits.string_bytes_max;
        if u32::try_from(text.len()).is_ok_and(|bytes| bytes <= bytes_max) {
            return Ok(());
        }
        Err(self.refuse("string", format!("{noun} is longer than {bytes_max} bytes")))
    }

    fn enter<E: serde::de::Error>(&mut self, depth: u16) -> Result<u16, E> {
        let depth_max = self.limits.depth_max.min(DEPTH_CEILING);
        if depth >= depth_max {
            return Err(self.refuse("depth", format!("is nested deeper than {depth_max} levels")));
        }
        Ok(depth + 1)
    }
}

/// One value at `depth` levels of nesting.
struct Element<'r> {
    reader: &'r mut Reader,
    depth: u16,
}

impl<'de> DeserializeSeed<'de> for Element<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Value, D::Error> {
        self.reader.count_value()?;
        source.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Element<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        match Number::from_f64(value) {
            Some(number) => Ok(Value::Number(number)),
            None => Err(self.reader.refuse("number", "is outside the range of a double".to_owned())),
        }
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Value, E> {
        self.reader.check_string(value, "the string")?;
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut source: A) -> Result<Value, A::Error> {
        let Self { reader, depth } = self;
        let depth = reader.enter(depth)?;
        let mut items = Vec::new();
        loop {
            match source.next_element_seed(Element { reader, depth }) {
                Ok(Some(item)) => items.push(item),
                Ok(None) => return Ok(Value::Array(items)),
                Err(error) => {
                    reader.locate(|| items.len().to_string());
                    return Err(error);
                }
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut source: A) -> Result<Value, A::Error> {
        let Self { reader, depth } = self;
        let depth = reader.enter(depth)?;
        let mut members = Map::new();
        while let Some(name) = source.next_key::<String>()? {
            reader.n_keys += 1;
            if reader.n_keys > reader.limits.keys_max {
                let message = format!("has more than {} members in all", reader.limits.keys_max);
                return Err(reader.refuse("keys", message));
            }
            reader.check_string(&name, "a member name")?;
            if members.contains_key(&name) {
                let error: A::Error = reader.refuse("duplicate", "is given more than once".to_owned());
                reader.locate(|| name);
                return Err(error);
            }
            match source.next_value_seed(Element { reader, depth }) {
                Ok(value) => members.insert(name, value),
                Err(error) => {
                    reader.locate(|| name);
                    return Err(error);
                }
            };
        }
        Ok(Value::Object(members))
    }
}
