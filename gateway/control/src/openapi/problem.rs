//! Problem documents (RFC 9457), and which of them an operation can answer with.

use std::collections::{BTreeMap, BTreeSet};

use http::header;
use model::problem::ProblemKind;
use serde_json::{Value, json};
use utoipa::{
    PartialSchema,
    openapi::{
        ArrayBuilder, ContentBuilder, HeaderBuilder, Object, ObjectBuilder, OneOfBuilder, Ref, RefOr, Response, ResponseBuilder, Schema, Type,
    },
};

use super::form;

/// The component that every problem document is.
const PROBLEM: &str = "Problem";
const FIELD_ERROR: &str = "FieldError";
const PARAMETER_ERROR: &str = "ParameterError";
const DOCUMENT_ERROR: &str = "DocumentError";

/// What a refusal needs of the components.
pub(super) fn schemas() -> Vec<(String, RefOr<Schema>)> {
    let texts = |about: &str, members: &[(&str, &str)]| {
        let start = ObjectBuilder::new().schema_type(Type::Object).description(Some(about));
        members.iter().fold(start, |object, (name, about)| object.property(*name, form::text(about)))
    };
    let said = [("keyword", "Which rule: a keyword of JSON Schema, or a word of ours."), ("message", "What it must be; never the value.")];
    let field = texts("What is wrong with the body.", &said).property("pointer", form::text("Where: a JSON pointer (RFC 6901)."));
    let parameter = texts("What is wrong with the query.", &said)
        .property("in", form::word(["query"]))
        .property("name", form::text("The parameter, at most its first 64 characters."));
    let members = [("path", "Where: `routes[3].match.path`."), ("message", "What is wrong."), ("help", "What to do.")];
    let document = texts("A mistake in a gateway document.", &members);
    vec![
        (PROBLEM.to_owned(), problem().into()),
        (FIELD_ERROR.to_owned(), field.required("pointer").required("keyword").required("message").into()),
        (PARAMETER_ERROR.to_owned(), parameter.required("in").required("name").required("keyword").required("message").into()),
        (DOCUMENT_ERROR.to_owned(), document.required("path").required("message").into()),
    ]
}

fn problem() -> Object {
    let errors =
        [FIELD_ERROR, PARAMETER_ERROR, DOCUMENT_ERROR].into_iter().fold(OneOfBuilder::new(), |one, name| one.item(Ref::from_schema_name(name)));
    let members: [(&str, RefOr<Schema>); 9] = [
        ("type", form::text("The code as a URI.").into()),
        ("title", form::text("The same for each occurrence.").into()),
        ("status", form::number(400, 599).into()),
        ("detail", form::text("About this occurrence.").into()),
        ("instance", form::text("The request as a URI.").into()),
        ("code", form::text("Which problem; `GET /v1/problems` lists them.").into()),
        ("request_id", form::text("As `X-Request-Id` has it.").into()),
        ("region", form::text("Of the node that refused.").into()),
        ("retryable", bool::schema()),
    ];
    let start = ObjectBuilder::new().schema_type(Type::Object).description(Some("A refusal (RFC 9457)."));
    let all = members.into_iter().fold(start, |object, (name, schema)| object.property(name, schema).required(name));
    all.property("retry_after_seconds", form::Count::schema()).property("errors", ArrayBuilder::new().items(errors)).build()
}

/// One response for each status that the codes have, by status; responses are shared between operations.
pub(super) fn responses(kinds: &BTreeSet<&'static str>, shared: &mut BTreeMap<String, RefOr<Response>>) -> BTreeMap<u16, RefOr<Response>> {
    let mut by_status = BTreeMap::<u16, Vec<ProblemKind>>::new();
    for kind in ProblemKind::ALL.iter().copied().filter(|kind| kinds.contains(kind.code())) {
        by_status.entry(kind.status().as_u16()).or_default().push(kind);
    }
    let refer = |kinds: Vec<ProblemKind>| {
        let name = kinds.iter().map(|kind| kind.code()).collect::<Vec<_>>().join(".");
        shared.entry(name.clone()).or_insert_with(|| response(&kinds).into());
        RefOr::Ref(Ref::from_response_name(name))
    };
    let mut refer = refer;
    by_status.into_iter().map(|(status, kinds)| (status, refer(kinds))).collect()
}

fn response(kinds: &[ProblemKind]) -> Response {
    let about = kinds.iter().map(|kind| format!("`{}`: {}", kind.code(), kind.title())).collect::<Vec<_>>().join("; ") + ".";
    let codes: Vec<Value> = kinds.iter().map(|kind| json!(kind.code())).collect();
    let schema = form::narrowed(Ref::from_schema_name(PROBLEM).into(), "code", codes);
    let content = ContentBuilder::new().schema(Some(schema)).build();
    let mut response = ResponseBuilder::new().description(about).content("application/problem+json", content);
    let status = kinds.first().map(|kind| kind.status().as_u16());
    if status == Some(401) {
        let challenge = form::text("Which scheme would do (RFC 9110 section 11.6.1).");
        response = response.header(header::WWW_AUTHENTICATE.as_str(), required(challenge));
    }
    if kinds.iter().any(|kind| kind.retry() == model::problem::Retry::AfterDelay) {
        let seconds = HeaderBuilder::new().schema(Some(form::Count::schema())).description(Some("Seconds after which a retry may succeed.")).build();
        response = response.header(header::RETRY_AFTER.as_str(), seconds);
    }
    response.header("x-request-id", required(form::text("As the document has it."))).build()
}

/// A field that is always there.
pub(super) fn required(schema: impl Into<RefOr<Schema>>) -> utoipa::openapi::Header {
    HeaderBuilder::new().schema(Some(schema)).extensions(Some(form::keyword("required", true))).build()
}
