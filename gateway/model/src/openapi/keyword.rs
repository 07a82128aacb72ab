//! Which keywords a schema may have in each dialect, and what stands below each of them.
//!
//! A keyword that is in neither table fails the load: a rule that someone wrote and nobody checks is worse than a load
//! that fails.

/// The schema dialect, which follows from the document's `openapi` version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// `OpenAPI 3.0.x`: a derivate of a draft before draft 5, with `nullable` and boolean exclusive limits.
    V30,
    /// `OpenAPI 3.1.x`: JSON Schema 2020-12 and the `OpenAPI` base vocabulary.
    V31,
}

/// What a keyword holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    /// A schema for a part of the value.
    Schema,
    /// A schema for the same value: a `$ref` loop through it would never end.
    SameSchema,
    /// A list of schemas for parts of the value.
    List,
    /// A list of schemas for the same value.
    SameList,
    /// Names and a schema for each, for parts of the value.
    Map,
    /// Names and a schema for each, for the same value.
    SameMap,
    /// A plain limit that means the same in both dialects.
    Limit,
    /// Something without effect on what is valid.
    Annotation,
    /// Something the translation treats by name.
    Special,
}

/// Returns what `keyword` holds, or the remedy when it is not supported.
pub(super) fn holds(dialect: Dialect, keyword: &str) -> Result<Holds, &'static str> {
    match keyword {
        "not" => Ok(Holds::SameSchema),
        "allOf" | "anyOf" | "oneOf" => Ok(Holds::SameList),
        "items" | "additionalProperties" => Ok(Holds::Schema),
        "properties" => Ok(Holds::Map),
        "enum" | "multipleOf" | "maximum" | "minimum" | "maxLength" | "minLength" | "maxItems" | "minItems" | "uniqueItems" | "maxProperties"
        | "minProperties" => Ok(Holds::Limit),
        "title" | "description" | "default" | "example" | "deprecated" | "readOnly" | "writeOnly" | "xml" | "externalDocs" => Ok(Holds::Annotation),
        "$ref" | "type" | "format" | "pattern" | "required" | "exclusiveMinimum" | "exclusiveMaximum" => Ok(Holds::Special),
        "discriminator" => Err("remove it: `oneOf` with a `const` or one-value `enum` in each branch says the same"),
        extension if extension.starts_with("x-") => Ok(Holds::Annotation),
        other => match dialect {
            Dialect::V30 => holds_v30(other),
            Dialect::V31 => holds_v31(other),
        },
    }
}

fn holds_v30(keyword: &str) -> Result<Holds, &'static str> {
    match keyword {
        "nullable" => Ok(Holds::Special),
        _ if holds_v31(keyword).is_ok() => Err("OpenAPI 3.0 does not have it: declare `openapi: 3.1.0`, or remove it"),
        _ => Err("remove it, or prefix its name with `x-`"),
    }
}

fn holds_v31(keyword: &str) -> Result<Holds, &'static str> {
    match keyword {
        "if" | "then" | "else" => Ok(Holds::SameSchema),
        "contains" | "propertyNames" | "unevaluatedItems" | "unevaluatedProperties" => Ok(Holds::Schema),
        "prefixItems" => Ok(Holds::List),
        "patternProperties" => Ok(Holds::Map),
        "dependentSchemas" => Ok(Holds::SameMap),
        "const" | "maxContains" | "minContains" | "dependentRequired" => Ok(Holds::Limit),
        "$dynamicRef" | "$schema" | "$id" | "$anchor" | "$dynamicAnchor" => Ok(Holds::Special),
        // The definitions are read where a `$ref` leads to them.
        "$comment" | "$defs" | "definitions" | "examples" | "contentEncoding" | "contentMediaType" | "contentSchema" => Ok(Holds::Annotation),
        "nullable" => Err("OpenAPI 3.1 writes `type: [\"string\", \"null\"]`"),
        "dependencies" => Err("write `dependentRequired` or `dependentSchemas`"),
        "additionalItems" => Err("write `prefixItems` with `items`"),
        "$recursiveRef" | "$recursiveAnchor" => Err("write `$dynamicRef` and `$dynamicAnchor`"),
        _ => Err("remove it, or prefix its name with `x-`"),
    }
}
