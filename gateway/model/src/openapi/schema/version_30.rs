//! The keywords whose meaning `OpenAPI` 3.0 and 3.1 do not share.

use serde_json::{Map, Value, json};

use super::Schemas;
use crate::openapi::keyword::Dialect;
use crate::openapi::pointer::Path;
use crate::openapi::{ApiError, CHAIN_MAX};

impl Schemas<'_> {
    pub(super) fn ty(&mut self, value: &Value, siblings: &Map<String, Value>, at: Path<'_>, target: &mut Map<String, Value>) {
        let is_nullable = self.dialect == Dialect::V30 && siblings.get("nullable") == Some(&Value::Bool(true));
        let is_single = value.as_str().is_some_and(|name| name != "null");
        if self.dialect == Dialect::V30 && !is_single {
            let help = "OpenAPI 3.0 has one type a schema: use `nullable` or `oneOf`, or declare `openapi: 3.1.0`";
            return self.errors.add(at.pointer(), "`type` must be the name of one type other than null", help);
        }
        let value = if is_nullable { json!([value, "null"]) } else { value.clone() };
        target.insert("type".to_owned(), value);
    }

    pub(super) fn nullable(&mut self, value: &Value, siblings: &Map<String, Value>, at: Path<'_>) {
        match value {
            Value::Bool(false) => {}
            Value::Bool(true) if siblings.contains_key("type") => {}
            Value::Bool(true) => {
                let help = "add the `type` beside it; a list of allowed values must name null as well";
                self.errors.add(at.pointer(), "`nullable` has no meaning without `type` beside it", help);
            }
            Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
                self.errors.add(at.pointer(), "`nullable` must be true or false", None);
            }
        }
    }

    /// In `OpenAPI 3.0` a read-only property is required of responses only (Schema Object, `readOnly`).
    pub(super) fn required(&self, value: &Value, siblings: &Map<String, Value>, at: Path<'_>) -> Value {
        let (Dialect::V30, Some(names)) = (self.dialect, value.as_array()) else { return value.clone() };
        let properties = siblings.get("properties");
        let is_read_only = |name: &Value| {
            let property = name.as_str().and_then(|name| properties?.get(name));
            property.is_some_and(|property| self.is_read_only(property, at))
        };
        Value::Array(names.iter().filter(|name| !is_read_only(name)).cloned().collect())
    }

    fn is_read_only(&self, property: &Value, at: Path<'_>) -> bool {
        let mut schema = property;
        for _ in 0..CHAIN_MAX {
            let Some(reference) = schema.get("$ref").and_then(Value::as_str) else { break };
            let target = self.references.resolve(&at.pointer(), reference).ok();
            match target.and_then(|pointer| self.references.at(&pointer)) {
                Some(next) => schema = next,
                None => return false,
            }
        }
        schema.get("readOnly") == Some(&Value::Bool(true))
    }

    pub(super) fn exclusive(&mut self, keyword: &str, value: &Value, siblings: &Map<String, Value>, at: Path<'_>, target: &mut Map<String, Value>) {
        if self.dialect == Dialect::V31 {
            target.insert(keyword.to_owned(), value.clone());
            return;
        }
        let limit = if keyword == "exclusiveMinimum" { "minimum" } else { "maximum" };
        match (value, siblings.get(limit)) {
            (Value::Bool(false), _) => {}
            (Value::Bool(true), Some(bound)) => {
                target.insert(keyword.to_owned(), bound.clone());
            }
            (Value::Bool(true), None) => {
                self.errors.add(at.pointer(), format!("`{keyword}` has no meaning without `{limit}`"), None);
            }
            _ => {
                let help = format!("OpenAPI 3.0 writes `{limit}: 5` and `{keyword}: true`");
                self.errors.push(ApiError { pointer: at.pointer(), message: format!("`{keyword}` must be true or false"), help: Some(help) });
            }
        }
    }
}
