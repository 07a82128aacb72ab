//! Strict reading of one JSON object that nobody vouches for: one reading or none, and no tree.
//!
//! A tree of values can be thirty times as large as its text, so none is built. One pass walks the whole text and checks
//! what must hold at any depth; a second keeps the outer members, each as its text. What a caller wants is read from there.
//!
//! # Source
//! RFC 8259; RFC 7515 §4 and RFC 7519 §4 leave duplicate members to the parser, so that two programs could read two tokens.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// How much structure an object may have. Its bytes are limited by the caller.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Levels of nesting: `{}` is one. Far below the 128 at which `serde_json` itself stops.
    pub(super) depth_max: u8,
    /// Members at all levels together.
    pub(super) members_max: u16,
}

/// What is wrong with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Encoding,
    Syntax,
    NotAnObject,
    Duplicate,
    Depth,
    Members,
}

/// An object: its members in order, each value as it is written.
pub(super) struct Object {
    members: Vec<(Box<str>, Box<RawValue>)>,
}

impl Object {
    /// Reads an object within `limits`.
    ///
    /// # Errors
    /// The first [`Fault`].
    pub(super) fn read(bytes: &[u8], limits: Limits) -> Result<Self, Fault> {
        let text = std::str::from_utf8(bytes).map_err(|_| Fault::Encoding)?;
        let mut walk = Walk { limits, n_members: 0, fault: None };
        let mut source = serde_json::Deserializer::from_str(text);
        let walked = Element { walk: &mut walk, depth: 0 }.deserialize(&mut source).and_then(|()| source.end());
        if walked.is_err() {
            return Err(walk.fault.unwrap_or(Fault::Syntax));
        }
        Self::read_walked(text)
    }

    /// Reads an object inside of a text that was walked already.
    ///
    /// # Errors
    /// [`Fault::NotAnObject`].
    pub(super) fn read_walked(text: &str) -> Result<Self, Fault> {
        let members = serde_json::Deserializer::from_str(text).deserialize_map(Outer).map_err(|_| Fault::NotAnObject)?;
        Ok(Self { members })
    }

    /// The value of a member, as it is written.
    pub(super) fn get(&self, name: &str) -> Option<&RawValue> {
        self.members.iter().find(|(known, _)| &**known == name).map(|(_, value)| &**value)
    }

    /// Whether there is such a member, whatever its value.
    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// A member that must be text if it is there; `Err` holds what the caller calls it when it is not.
    pub(super) fn text<E>(&self, name: &str, otherwise: E) -> Result<Option<String>, E> {
        self.get(name).map(|value| text_of(value).ok_or(otherwise)).transpose()
    }
}

/// Claims do not go into logs.
impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Object({} members)", self.members.len())
    }
}

/// The value as text, if it is text.
pub(super) fn text_of(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

/// What became of reading a list.
#[derive(Debug)]
pub(super) enum List<'v> {
    /// Its values, as they are written.
    Values(Vec<&'v RawValue>),
    /// It has more values than allowed.
    TooMany,
    /// It is no list.
    Other,
}

/// The values of a list of at most `n_max`.
pub(super) fn list_of(value: &RawValue, n_max: usize) -> List<'_> {
    let mut is_over = false;
    let mut source = serde_json::Deserializer::from_str(value.get());
    match source.deserialize_seq(Values { n_max, is_over: &mut is_over }) {
        Ok(values) => List::Values(values),
        Err(_) if is_over => List::TooMany,
        Err(_) => List::Other,
    }
}

/// The texts of a list of at most `n_max` texts.
pub(super) fn texts_of(value: &RawValue, n_max: usize) -> Option<Vec<String>> {
    match list_of(value, n_max) {
        List::Values(values) => values.into_iter().map(text_of).collect(),
        List::TooMany | List::Other => None,
    }
}

struct Walk {
    limits: Limits,
    n_members: u16,
    fault: Option<Fault>,
}

impl Walk {
    fn refuse<E: Error>(&mut self, fault: Fault) -> E {
        self.fault = Some(fault);
        E::custom("refused")
    }

    fn enter<E: Error>(&mut self, depth: u8) -> Result<u8, E> {
        if depth >= self.limits.depth_max { Err(self.refuse(Fault::Depth)) } else { Ok(depth + 1) }
    }

    fn count_member<E: Error>(&mut self) -> Result<(), E> {
        if self.n_members >= self.limits.members_max {
            return Err(self.refuse(Fault::Members));
        }
        self.n_members += 1;
        Ok(())
    }
}

/// One value at `depth` levels of nesting, of which nothing is kept.
struct Element<'w> {
    walk: &'w mut Walk,
    depth: u8,
}

impl<'de> DeserializeSeed<'de> for Element<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<(), D::Error> {
        source.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Element<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut source: A) -> Result<(), A::Error> {
        let Self { walk, depth } = self;
        let depth = walk.enter(depth)?;
        while source.next_element_seed(Element { walk, depth })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut source: A) -> Result<(), A::Error> {
        let Self { walk, depth } = self;
        let depth = walk.enter(depth)?;
        // Names are compared after unescaping: `"\u0061"` is `"a"` to whoever reads the token next.
        let mut names = BTreeSet::new();
        while let Some(name) = source.next_key::<String>()? {
            walk.count_member()?;
            if !names.insert(name) {
                return Err(walk.refuse(Fault::Duplicate));
            }
            source.next_value_seed(Element { walk, depth })?;
        }
        Ok(())
    }
}

/// The outer members of an object.
struct Outer;

impl<'de> Visitor<'de> for Outer {
    type Value = Vec<(Box<str>, Box<RawValue>)>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut source: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = source.next_entry()? {
            members.push(member);
        }
        Ok(members)
    }
}

/// The values of a list; it stops at the first one too many.
struct Values<'o> {
    n_max: usize,
    is_over: &'o mut bool,
}

impl<'de> Visitor<'de> for Values<'_> {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut source: A) -> Result<Self::Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = source.next_element()? {
            if values.len() >= self.n_max {
                *self.is_over = true;
                return Err(A::Error::custom("refused"));
            }
            values.push(value);
        }
        Ok(values)
    }
}
