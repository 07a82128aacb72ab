//! Reads `Signature-Input` and `Signature` (RFC 9421 section 4): one reading, within limits, or none.
//!
//! The grammar is the library's. It lets a later member of the same name win, as RFC 9651 wants; two programs could then see two
//! signatures, so here a name that stands twice is refused.

use std::{borrow::Cow, ops::Range};

use http::{HeaderMap, HeaderName};
use sfv::{
    BareItemFromInput, ItemSerializer, KeyRef, Parser,
    visitor::{DictionaryVisitor, EntryVisitor, InnerListVisitor, ItemVisitor, Never, ParameterVisitor},
};

use super::Fault;

/// `Signature-Input`.
pub const SIGNATURE_INPUT: HeaderName = HeaderName::from_static("signature-input");
/// `Signature`.
pub const SIGNATURE: HeaderName = HeaderName::from_static("signature");

/// Both fields together: a signature by RSA of 8,192 bits that covers thirty fields has half of it.
const BYTES_MAX: usize = 8 << 10;
/// A client's own, and some of proxies on the way.
const LABELS_MAX: usize = 4;
/// As many as a request has headers as a rule.
const COMPONENTS_MAX: usize = 32;

/// Whether a request carries a signature of any kind.
pub fn is_carried(headers: &HeaderMap) -> bool {
    headers.contains_key(SIGNATURE_INPUT) || headers.contains_key(SIGNATURE)
}

/// Both fields as they came, several lines as one (RFC 9651 section 4.2).
#[derive(Debug)]
pub(super) struct Fields<'h> {
    input: Cow<'h, str>,
    signature: Cow<'h, str>,
}

impl<'h> Fields<'h> {
    /// Takes them out of a head.
    ///
    /// # Errors
    /// [`Fault::TooLong`], [`Fault::Malformed`].
    pub(super) fn of(headers: &'h HeaderMap) -> Result<Self, Fault> {
        let bytes = [SIGNATURE_INPUT, SIGNATURE].iter().flat_map(|name| headers.get_all(name)).map(http::HeaderValue::len).sum::<usize>();
        if bytes > BYTES_MAX {
            return Err(Fault::TooLong);
        }
        let joined = |name: &HeaderName| joined(headers, name.as_str(), ", ").ok_or(Fault::Malformed);
        Ok(Self { input: joined(&SIGNATURE_INPUT)?, signature: joined(&SIGNATURE)? })
    }

    /// What each signature says about itself.
    ///
    /// # Errors
    /// [`Fault::Malformed`].
    pub(super) fn inputs(&self) -> Result<Vec<Input<'_>>, Fault> {
        Parser::new(&*self.input).parse_dictionary_with_visitor(Inputs(Vec::new())).map_err(|_| Fault::Malformed)
    }

    /// The signatures.
    ///
    /// # Errors
    /// [`Fault::Malformed`].
    pub(super) fn signatures(&self) -> Result<Signatures<'_>, Fault> {
        Parser::new(&*self.signature).parse_dictionary_with_visitor(Signatures(Vec::new())).map_err(|_| Fault::Malformed)
    }
}

/// The values of a field as one, without blanks around each (RFC 9421 section 2.1). `None` where there is none, or one that is not
/// of ASCII.
pub(super) fn joined<'h>(headers: &'h HeaderMap, name: &str, between: &str) -> Option<Cow<'h, str>> {
    let mut values = headers.get_all(name).iter();
    let text = |value: &'h http::HeaderValue| value.to_str().ok().map(|text| text.trim_matches([' ', '\t']));
    let mut whole = Cow::Borrowed(text(values.next()?)?);
    for value in values {
        let whole = whole.to_mut();
        whole.push_str(between);
        whole.push_str(text(value)?);
    }
    Some(whole)
}

/// The parameters of one signature (RFC 9421 section 2.3).
#[derive(Debug)]
pub(super) struct Input<'f> {
    label: &'f str,
    components: Vec<Component<'f>>,
    created: Option<i64>,
    expires: Option<i64>,
    nonce: Option<Cow<'f, str>>,
    algorithm: Option<Cow<'f, str>>,
    key_id: Option<Cow<'f, str>>,
    tag: Option<Cow<'f, str>>,
    /// A parameter is there that is not known, or is of another type.
    is_odd: bool,
    /// All of it in the one form that it has when it is signed (RFC 9421 section 2.5).
    text: String,
}

/// Something that a signature covers.
#[derive(Debug)]
pub(super) struct Component<'f> {
    pub(super) name: Cow<'f, str>,
    /// The `name` of a query parameter.
    pub(super) parameter: Option<Cow<'f, str>>,
    /// It has a parameter that is not known.
    pub(super) is_odd: bool,
    /// Where it stands in the text.
    place: Range<usize>,
}

impl Input<'_> {
    /// What it is called beside its signature.
    pub(super) const fn label(&self) -> &str {
        self.label
    }

    /// Whose key is meant.
    pub(super) fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// Its nonce.
    pub(super) fn nonce(&self) -> Option<&str> {
        self.nonce.as_deref()
    }

    /// What it is for.
    pub(super) fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The algorithm that it names.
    pub(super) fn algorithm(&self) -> Option<&str> {
        self.algorithm.as_deref()
    }

    /// When it was made, in seconds since 1970.
    pub(super) const fn created(&self) -> Option<i64> {
        self.created
    }

    /// When it ends, in seconds since 1970.
    pub(super) const fn expires(&self) -> Option<i64> {
        self.expires
    }

    pub(super) const fn is_odd(&self) -> bool {
        self.is_odd
    }

    pub(super) fn components(&self) -> &[Component<'_>] {
        &self.components
    }

    /// Whether it covers a component, by its name alone.
    pub(super) fn covers(&self, name: &str) -> bool {
        self.components.iter().any(|component| component.parameter.is_none() && component.name == name)
    }

    /// All of it, as it is signed.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// A component, as it is signed.
    pub(super) fn identifier(&self, component: &Component<'_>) -> &str {
        self.text.get(component.place.clone()).unwrap_or_default()
    }
}

/// Why reading stopped. Which of many reasons it was would tell nobody more.
#[derive(Debug, thiserror::Error)]
#[error("the field has no one reading")]
pub(super) struct Stop;

struct Inputs<'f>(Vec<Input<'f>>);

impl<'f> DictionaryVisitor<'f> for Inputs<'f> {
    type Out = Vec<Input<'f>>;
    type Error = Stop;

    fn entry(&mut self, label: &'f KeyRef) -> Result<impl EntryVisitor<'f>, Stop> {
        let label = label.as_str();
        if self.0.len() == LABELS_MAX || self.0.iter().any(|other| other.label == label) {
            return Err(Stop);
        }
        self.0.push(Input {
            label,
            components: Vec::new(),
            created: None,
            expires: None,
            nonce: None,
            algorithm: None,
            key_id: None,
            tag: None,
            is_odd: false,
            text: String::new(),
        });
        self.0.last_mut().map(List).ok_or(Stop)
    }

    fn finish(self) -> Result<Vec<Input<'f>>, Stop> {
        Ok(self.0)
    }
}

/// The list of what a signature covers.
struct List<'v, 'f>(&'v mut Input<'f>);

impl<'f> EntryVisitor<'f> for List<'_, 'f> {
    type Error = Stop;

    fn item(self) -> Result<impl ItemVisitor<'f>, Stop> {
        Err::<Never, _>(Stop)
    }

    fn inner_list(self) -> Result<impl InnerListVisitor<'f>, Stop> {
        self.0.text.push('(');
        Ok(self)
    }
}

impl<'f> InnerListVisitor<'f> for List<'_, 'f> {
    type Error = Stop;

    fn item(&mut self) -> Result<impl ItemVisitor<'f>, Stop> {
        if self.0.components.len() == COMPONENTS_MAX {
            return Err(Stop);
        }
        if !self.0.components.is_empty() {
            self.0.text.push(' ');
        }
        Ok(Covered(self.0))
    }

    fn finish(self) -> Result<impl ParameterVisitor<'f>, Stop> {
        self.0.text.push(')');
        Ok(Parameters(self.0))
    }
}

/// One of what a signature covers.
struct Covered<'v, 'f>(&'v mut Input<'f>);

impl<'f> ItemVisitor<'f> for Covered<'_, 'f> {
    type Out = ();
    type Error = Stop;

    fn bare_item(self, item: BareItemFromInput<'f>) -> Result<impl ParameterVisitor<'f, Out = ()>, Stop> {
        let start = self.0.text.len();
        write_item(&mut self.0.text, &item);
        let name = string(item).ok_or(Stop)?;
        self.0.components.push(Component { name, parameter: None, is_odd: false, place: start..self.0.text.len() });
        Ok(self)
    }
}

impl<'f> ParameterVisitor<'f> for Covered<'_, 'f> {
    type Out = ();
    type Error = Stop;

    fn parameter(&mut self, key: &'f KeyRef, value: BareItemFromInput<'f>) -> Result<(), Stop> {
        write_parameter(&mut self.0.text, key, &value);
        let end = self.0.text.len();
        let component = self.0.components.last_mut().ok_or(Stop)?;
        component.place.end = end;
        match string(value) {
            Some(text) if key.as_str() == "name" && component.parameter.is_none() => component.parameter = Some(text),
            Some(_) | None => component.is_odd = true,
        }
        Ok(())
    }

    fn finish(self) -> Result<(), Stop> {
        Ok(())
    }
}

/// What a signature says about itself.
struct Parameters<'v, 'f>(&'v mut Input<'f>);

impl<'f> ParameterVisitor<'f> for Parameters<'_, 'f> {
    type Out = ();
    type Error = Stop;

    fn parameter(&mut self, key: &'f KeyRef, value: BareItemFromInput<'f>) -> Result<(), Stop> {
        let input = &mut *self.0;
        write_parameter(&mut input.text, key, &value);
        let key = key.as_str();
        let is_twice = match (key, value) {
            ("created", BareItemFromInput::Integer(at)) => input.created.replace(at.into()).is_some(),
            ("expires", BareItemFromInput::Integer(at)) => input.expires.replace(at.into()).is_some(),
            ("nonce", BareItemFromInput::String(text)) => input.nonce.replace(text_of(text)).is_some(),
            ("alg", BareItemFromInput::String(text)) => input.algorithm.replace(text_of(text)).is_some(),
            ("keyid", BareItemFromInput::String(text)) => input.key_id.replace(text_of(text)).is_some(),
            ("tag", BareItemFromInput::String(text)) => input.tag.replace(text_of(text)).is_some(),
            _ => {
                input.is_odd = true;
                false
            }
        };
        if is_twice { Err(Stop) } else { Ok(()) }
    }

    fn finish(self) -> Result<(), Stop> {
        Ok(())
    }
}

fn string(item: BareItemFromInput<'_>) -> Option<Cow<'_, str>> {
    if let BareItemFromInput::String(text) = item { Some(text_of(text)) } else { None }
}

fn text_of(text: Cow<'_, sfv::StringRef>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_str()),
        Cow::Owned(text) => Cow::Owned(text.into()),
    }
}

fn write_item(out: &mut String, item: &BareItemFromInput<'_>) {
    ItemSerializer::with_buffer(out).bare_item(item);
}

/// RFC 9651 section 4.1.1.2.
fn write_parameter(out: &mut String, key: &KeyRef, value: &BareItemFromInput<'_>) {
    out.push(';');
    out.push_str(key.as_str());
    if !matches!(value, BareItemFromInput::Boolean(true)) {
        out.push('=');
        write_item(out, value);
    }
}

/// The signatures of a request by their labels.
#[derive(Debug)]
pub(super) struct Signatures<'f>(Vec<(&'f str, Vec<u8>)>);

impl Signatures<'_> {
    /// The one of this label.
    pub(super) fn of(self, label: &str) -> Option<Vec<u8>> {
        self.0.into_iter().find(|(other, _)| *other == label).map(|(_, signature)| signature)
    }
}

impl<'f> DictionaryVisitor<'f> for Signatures<'f> {
    type Out = Self;
    type Error = Stop;

    fn entry(&mut self, label: &'f KeyRef) -> Result<impl EntryVisitor<'f>, Stop> {
        let label = label.as_str();
        if self.0.len() == LABELS_MAX || self.0.iter().any(|(other, _)| *other == label) {
            return Err(Stop);
        }
        self.0.push((label, Vec::new()));
        self.0.last_mut().map(|(_, bytes)| Bytes(bytes)).ok_or(Stop)
    }

    fn finish(self) -> Result<Self, Stop> {
        Ok(self)
    }
}

/// A sequence of bytes without parameters.
pub(super) struct Bytes<'v>(pub(super) &'v mut Vec<u8>);

impl<'f> EntryVisitor<'f> for Bytes<'_> {
    type Error = Stop;

    fn item(self) -> Result<impl ItemVisitor<'f>, Stop> {
        Ok(self)
    }

    fn inner_list(self) -> Result<impl InnerListVisitor<'f>, Stop> {
        Err::<Never, _>(Stop)
    }
}

impl<'f> ItemVisitor<'f> for Bytes<'_> {
    type Out = ();
    type Error = Stop;

    fn bare_item(self, item: BareItemFromInput<'f>) -> Result<impl ParameterVisitor<'f, Out = ()>, Stop> {
        let BareItemFromInput::ByteSequence(bytes) = item else { return Err(Stop) };
        *self.0 = bytes;
        Ok(self)
    }
}

impl<'f> ParameterVisitor<'f> for Bytes<'_> {
    type Out = ();
    type Error = Stop;

    fn parameter(&mut self, _: &'f KeyRef, _: BareItemFromInput<'f>) -> Result<(), Stop> {
        Err(Stop)
    }

    fn finish(self) -> Result<(), Stop> {
        Ok(())
    }
}
