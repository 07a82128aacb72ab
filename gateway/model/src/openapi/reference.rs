//! What a `$ref` means: the pointer of its target in the one document that there is.
//!
//! `$id` gives a schema a base of its own and `$anchor` a name (JSON Schema Core 2020-12 §8.2). Both are turned into
//! pointers here, so that nothing after this needs to know them. Nothing is ever fetched.

use std::collections::HashMap;

use serde_json::Value;
use url::Url;

use super::pointer::{self, Plus};

/// The document's own base: hierarchical, so that a relative `$id` has something to be relative to.
const BASE: &str = "causeway-document:///openapi";

/// Where the JSON below is data, not schema: names in there mean nothing.
const DATA_KEYWORDS: [&str; 5] = ["enum", "const", "default", "example", "examples"];

/// Where the keys of the object are names that the author chose.
const NAME_MAPS: [&str; 6] = ["properties", "patternProperties", "dependentSchemas", "$defs", "definitions", "schemas"];

/// Why a reference leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ReferenceError {
    #[error("the reference `{0}` leads outside of this document")]
    Remote(String),
    #[error("nothing is at `{0}`")]
    Missing(String),
    #[error("the reference `{0}` is not a valid URI reference")]
    Malformed(String),
}

impl ReferenceError {
    /// What the author can do about it.
    pub(super) fn help(&self) -> &'static str {
        match self {
            Self::Remote(_) => "copy the target into `components` of this document: the gateway fetches nothing",
            Self::Missing(_) => "define the target, or correct the `$ref`",
            Self::Malformed(_) => "write `#/components/...`; in the pointer `~1` stands for `/` and `~0` for `~`",
        }
    }
}

/// The document with its named places.
#[derive(Debug)]
pub(super) struct References<'d> {
    document: &'d Value,
    /// The document itself comes first.
    resources: Vec<Resource>,
    /// By index of the resource and name.
    anchors: HashMap<(usize, String), String>,
}

#[derive(Debug)]
struct Resource {
    pointer: String,
    url: String,
}

impl<'d> References<'d> {
    /// Finds every `$id`, `$anchor` and `$dynamicAnchor`.
    pub(super) fn read(document: &'d Value) -> Self {
        let resources = vec![Resource { pointer: String::new(), url: BASE.to_owned() }];
        let mut references = Self { document, resources, anchors: HashMap::new() };
        references.scan(document, &mut String::new(), 0, KeysAre::Keywords);
        references
    }

    /// Returns what is at `pointer`.
    pub(super) fn at(&self, pointer: &str) -> Option<&'d Value> {
        self.document.pointer(pointer)
    }

    /// Whether schemas with an `$id` exist: then a dynamic reference would need the dynamic scope.
    pub(super) fn has_embedded_resources(&self) -> bool {
        self.resources.len() > 1
    }

    /// Returns the pointer of the target of `reference`, which stands in the object at `at`.
    pub(super) fn resolve(&self, at: &str, reference: &str) -> Result<String, ReferenceError> {
        let (resource, fragment) = match reference.strip_prefix('#') {
            Some(fragment) => (self.resource_around(at), fragment.to_owned()),
            None => self.resource_named(at, reference)?,
        };
        let malformed = || ReferenceError::Malformed(reference.to_owned());
        let fragment = pointer::percent_decode(&fragment, Plus::Itself).ok_or_else(malformed)?;
        let start = self.resources.get(resource).map_or("", |resource| resource.pointer.as_str());
        let target = if fragment.is_empty() || fragment.starts_with('/') {
            format!("{start}{fragment}")
        } else {
            let anchor = self.anchors.get(&(resource, fragment.into_owned()));
            anchor.cloned().ok_or_else(|| ReferenceError::Missing(reference.to_owned()))?
        };
        match self.document.pointer(&target) {
            Some(_) => Ok(target),
            None => Err(ReferenceError::Missing(reference.to_owned())),
        }
    }

    fn resource_named(&self, at: &str, reference: &str) -> Result<(usize, String), ReferenceError> {
        let base = self.resources.get(self.resource_around(at)).map_or(BASE, |resource| &resource.url);
        let mut url = join(base, reference).ok_or_else(|| ReferenceError::Malformed(reference.to_owned()))?;
        let fragment = url.fragment().unwrap_or_default().to_owned();
        url.set_fragment(None);
        let found = self.resources.iter().position(|resource| resource.url == url.as_str());
        found.map(|index| (index, fragment)).ok_or_else(|| ReferenceError::Remote(reference.to_owned()))
    }

    /// The innermost resource that holds `pointer`.
    fn resource_around(&self, pointer: &str) -> usize {
        let holders = self.resources.iter().enumerate().filter(|(_, one)| pointer::is_within(pointer, &one.pointer));
        holders.max_by_key(|(_, one)| one.pointer.len()).map_or(0, |(index, _)| index)
    }

    fn scan(&mut self, value: &Value, at: &mut String, resource: usize, keys: KeysAre) {
        let length = at.len();
        match value {
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    pointer::push(at, &index.to_string());
                    self.scan(item, at, resource, KeysAre::Keywords);
                    at.truncate(length);
                }
            }
            Value::Object(members) => {
                let resource = match keys {
                    KeysAre::Keywords => self.note_names(members, at, resource),
                    KeysAre::Names => resource,
                };
                for (name, member) in members {
                    let is_keyword = keys == KeysAre::Keywords;
                    if is_keyword && (DATA_KEYWORDS.contains(&name.as_str()) || name.starts_with("x-")) {
                        continue;
                    }
                    let is_name_map = is_keyword && NAME_MAPS.contains(&name.as_str());
                    let below = if is_name_map { KeysAre::Names } else { KeysAre::Keywords };
                    pointer::push(at, name);
                    self.scan(member, at, resource, below);
                    at.truncate(length);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    /// Notes what the object at `at` is called, and returns the resource that holds what is below it.
    fn note_names(&mut self, members: &serde_json::Map<String, Value>, at: &str, resource: usize) -> usize {
        let text = |keyword: &str| members.get(keyword).and_then(Value::as_str);
        let base = self.resources.get(resource).map_or(BASE, |resource| &resource.url);
        let own = text("$id").and_then(|id| join(base, id)).map(|mut url| {
            url.set_fragment(None);
            url.to_string()
        });
        let resource = match own {
            Some(url) => {
                self.resources.push(Resource { pointer: at.to_owned(), url });
                self.resources.len() - 1
            }
            None => resource,
        };
        for keyword in ["$anchor", "$dynamicAnchor"] {
            if let Some(name) = text(keyword) {
                self.anchors.entry((resource, name.to_owned())).or_insert_with(|| at.to_owned());
            }
        }
        resource
    }
}

/// What the keys of an object are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KeysAre {
    Keywords,
    Names,
}

fn join(base: &str, reference: &str) -> Option<Url> {
    Url::parse(base).ok()?.join(reference).or_else(|_| Url::parse(reference)).ok()
}
