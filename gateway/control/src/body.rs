//! Request bodies: JSON within a size and a time, into a validated value, or a refusal that names the place.

use std::{collections::HashMap, fmt, marker::PhantomData, time::Duration};

use axum::{
    body::Body,
    extract::{FromRequest, Request},
};
use bytes::Bytes;
use http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use model::{
    openapi::{FieldError, Place},
    problem::{Denial, ProblemKind},
};
use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeOwned, IgnoredAny, MapAccess, Visitor, value::MapAccessDeserializer},
};
use validator::{Validate, ValidationErrors, ValidationErrorsKind};

use crate::{refusal::Refusal, state::ControlState};

/// The largest body of anything but a document, in bytes: no such body has more than a few hundred.
pub(crate) const BODY_BYTES_MAX: usize = 64 << 10;

/// How long a body may take to arrive: a slow client must not hold a place for longer.
const BODY_DEADLINE: Duration = Duration::from_secs(10);

/// A body that was read, decoded and validated.
#[derive(Debug)]
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<T: DeserializeOwned + Validate> FromRequest<ControlState> for JsonBody<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &ControlState) -> Result<Self, Refusal> {
        expect_json(request.headers())?;
        let bytes = read(request, BODY_BYTES_MAX).await?;
        let value: T = decode_object(&bytes)?;
        check(&value)?;
        Ok(Self(value))
    }
}

/// Holds a value against its rules.
pub(crate) fn check(value: &impl Validate) -> Result<(), Refusal> {
    value.validate().map_err(|errors| Refusal::fields(field_errors(&errors)))
}

/// Refuses a content type or coding other than plain JSON (RFC 9110 section 8.3).
pub(crate) fn expect_json(headers: &HeaderMap) -> Result<(), Refusal> {
    let is_coded = headers.get(header::CONTENT_ENCODING).is_some_and(|coding| coding.as_bytes() != b"identity");
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    // Of two, which one counts would be for the reader to choose.
    let only = types.next().filter(|_| types.next().is_none());
    let is_json = only.and_then(|value| value.to_str().ok()).is_some_and(|text| {
        let mut parts = text.split(';').map(str::trim);
        let essence = parts.next().unwrap_or_default();
        let charset_ok = parts.all(|part| {
            let charset = part.split_once('=').filter(|(name, _)| name.eq_ignore_ascii_case("charset"));
            charset.is_none_or(|(_, value)| value.trim_matches('"').eq_ignore_ascii_case("utf-8"))
        });
        essence.eq_ignore_ascii_case("application/json") && charset_ok
    });
    if is_json && !is_coded {
        return Ok(());
    }
    Err(Denial::new(ProblemKind::ContentTypeUnsupported, "send `content-type: application/json`, in UTF-8 and without a coding").into())
}

/// Reads a whole body of at most `max` bytes.
pub(crate) async fn read(request: Request<Body>, max: usize) -> Result<Bytes, Refusal> {
    let too_large = || Refusal::from(Denial::new(ProblemKind::BodyTooLarge, format!("the body may have at most {max} bytes")));
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > max) {
        return Err(too_large());
    }
    match tokio::time::timeout(BODY_DEADLINE, Limited::new(request.into_body(), max).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(Denial::new(ProblemKind::RequestMalformed, "the body broke off").into()),
        Err(_) => Err(Denial::new(ProblemKind::RequestTimeout, "the body took more than 10 seconds to arrive").into()),
    }
}

/// Decodes JSON: 400 when it is none, 422 with the place when a member is wrong.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    decode_at(bytes).map_err(|error| match error {
        DecodeError::Syntax { line, column } => syntax(line, column),
        DecodeError::Member(member) => Refusal::field(member.pointer(), member.keyword, member.message),
    })
}

/// The same for a value that is an object: read as it stands, an array of a struct's members in their order would do too.
pub(crate) fn decode_object<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    if is_object(bytes) {
        return decode(bytes);
    }
    decode::<IgnoredAny>(bytes)?;
    Err(Refusal::field("", "type", "must be an object"))
}

/// A member of a list that is an object: read as it stands, an array of a struct's members in their order would do too.
#[derive(Debug)]
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Object)
    }
}

/// Whether JSON, if it is any, is an object.
pub(crate) fn is_object(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().first() == Some(&b'{')
}

/// The refusal of bytes that are not JSON.
pub(crate) fn syntax(line: usize, column: usize) -> Refusal {
    Denial::new(ProblemKind::RequestMalformed, format!("the body is not JSON: line {line}, column {column}")).into()
}

/// Why bytes could not be decoded.
#[derive(Debug)]
pub(crate) enum DecodeError {
    /// They are not JSON.
    Syntax {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// They are JSON of another shape.
    Member(MemberError),
}

/// A member that is wrong.
#[derive(Debug)]
pub(crate) struct MemberError {
    path: serde_path_to_error::Path,
    /// The member itself, where the path ends at its parent: it is not there, or stands there twice.
    member: Option<String>,
    /// Which rule.
    pub(crate) keyword: &'static str,
    /// For people, without the value.
    pub(crate) message: String,
}

impl MemberError {
    /// The place as a JSON pointer (RFC 6901).
    pub(crate) fn pointer(&self) -> String {
        self.parts().iter().fold(String::new(), |pointer, part| {
            let part = match part {
                Part::Name(name) => name.replace('~', "~0").replace('/', "~1"),
                Part::Index(index) => index.to_string(),
            };
            pointer + "/" + &part
        })
    }

    /// The place as documents name it: `routes[3].match.path`.
    pub(crate) fn dotted(&self) -> String {
        self.parts().iter().fold(String::new(), |path, part| match part {
            Part::Name(name) if path.is_empty() => name.clone(),
            Part::Name(name) => path + "." + name,
            Part::Index(index) => format!("{path}[{index}]"),
        })
    }

    fn parts(&self) -> Vec<Part> {
        let known = self.path.iter().filter_map(|segment| match segment {
            serde_path_to_error::Segment::Seq { index } => Some(Part::Index(*index)),
            serde_path_to_error::Segment::Map { key } => Some(Part::Name(key.clone())),
            serde_path_to_error::Segment::Enum { variant } => Some(Part::Name(variant.clone())),
            serde_path_to_error::Segment::Unknown => None,
        });
        known.chain(self.member.iter().cloned().map(Part::Name)).collect()
    }
}

enum Part {
    Name(String),
    Index(usize),
}

/// Decodes JSON, keeping the place of a mistake.
pub(crate) fn decode_at<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().clone();
        let error = error.into_inner();
        match error.classify() {
            serde_json::error::Category::Data => DecodeError::Member(member_error(path, &error.to_string())),
            serde_json::error::Category::Syntax | serde_json::error::Category::Eof | serde_json::error::Category::Io => {
                DecodeError::Syntax { line: error.line(), column: error.column() }
            }
        }
    })?;
    deserializer.end().map_err(|error| DecodeError::Syntax { line: error.line(), column: error.column() })?;
    Ok(value)
}

/// Sorts what the decoder says into our own words; of its text only names of members and what was expected are kept, so
/// that no value comes back.
fn member_error(path: serde_path_to_error::Path, text: &str) -> MemberError {
    let text = text.rsplit_once(" at line ").map_or(text, |(before, _)| before);
    let mut quoted = text.split('`').skip(1).step_by(2);
    if text.starts_with("missing field") {
        return MemberError { path, member: quoted.next().map(str::to_owned), keyword: "required", message: "is required".to_owned() };
    }
    if text.starts_with("duplicate field") {
        return MemberError { path, member: quoted.next().map(str::to_owned), keyword: "duplicate", message: "stands there twice".to_owned() };
    }
    let expected = text.rsplit_once("expected ").map(|(_, expected)| expected);
    let (keyword, message) = if text.starts_with("unknown field") {
        ("unknown", expected.map_or_else(|| "is not known here".to_owned(), |known| format!("is not known here; known: {known}")))
    } else if text.starts_with("unknown variant") {
        ("enum", expected.map_or_else(|| "has an unknown value".to_owned(), |known| format!("must be {known}")))
    } else {
        ("type", expected.map_or_else(|| "has a wrong value".to_owned(), |expected| format!("must be {expected}")))
    };
    MemberError { path, member: None, keyword, message }
}

/// For serde: a whole number. JSON Schema does not tell 60.0 from 60, so neither do we.
pub(crate) fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    Ok(Option::<Whole>::deserialize(deserializer)?.map(|whole| whole.0))
}

struct Whole(u32);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WholeVisitor)
    }
}

struct WholeVisitor;

impl Visitor<'_> for WholeVisitor {
    type Value = Whole;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number from 0 to 4294967295")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Whole, E> {
        u32::try_from(number).map(Whole).map_err(|_| E::invalid_value(de::Unexpected::Unsigned(number), &self))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Whole, E> {
        // Written without a fraction it is read by the rules for integers, sign and range included.
        let text = (number.fract() == 0.0).then(|| format!("{number:.0}"));
        text.and_then(|text| text.parse().ok()).map(Whole).ok_or_else(|| E::invalid_value(de::Unexpected::Float(number), &self))
    }
}

fn field_errors(errors: &ValidationErrors) -> Vec<FieldError> {
    let mut out = Vec::new();
    let kinds: &HashMap<_, _> = errors.errors();
    for (field, kind) in kinds {
        // Bodies are flat: what nests is checked by its own type.
        let ValidationErrorsKind::Field(found) = kind else { continue };
        for error in found {
            let keyword = match &error.code {
                std::borrow::Cow::Borrowed(code) => code,
                std::borrow::Cow::Owned(_) => "invalid",
            };
            let message = error.message.as_deref().unwrap_or("is out of range").to_owned();
            out.push(FieldError { place: Place::Pointer(format!("/{field}")), keyword, message });
        }
    }
    out.sort_by(|a, b| pointer(a).cmp(pointer(b)));
    out
}

fn pointer(error: &FieldError) -> &str {
    match &error.place {
        Place::Pointer(pointer) => pointer,
        Place::Parameter { name, .. } => name,
    }
}

#[cfg(test)]
mod tests;
