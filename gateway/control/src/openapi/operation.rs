//! One operation: what its handler says about itself, and what follows from the router's table, the policy and the problems.

use std::collections::{BTreeMap, BTreeSet};

use http::header;
use model::problem::ProblemKind;
use serde_json::json;
use utoipa::{
    ToSchema,
    openapi::{
        ArrayBuilder, Content, ContentBuilder, RefOr, Required, Response, ResponseBuilder, Schema,
        link::LinkBuilder,
        path::{Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn},
        request_body::{RequestBody, RequestBodyBuilder},
        security::SecurityRequirement,
    },
};

use super::{form, problem};
use crate::{
    policy::{Action, Recording, Role, allows},
    query::LIMIT_MAX,
    router::Entry,
};

/// Who may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Everybody.
    Open,
    /// Whoever signs the body.
    Signed,
    /// An operator whose role allows this.
    Operator(Action),
    /// Whoever has an account, by a token of their own. The name of what it is in records, where it is recorded.
    Member(Option<&'static str>),
}

impl From<Action> for Access {
    fn from(action: Action) -> Self {
        Self::Operator(action)
    }
}

/// Named schemas.
type Schemas = Vec<(String, RefOr<Schema>)>;

/// What a handler says about itself.
pub(crate) struct Doc {
    id: &'static str,
    summary: &'static str,
    about: Option<&'static str>,
    parameters: Vec<Parameter>,
    body: Option<RequestBody>,
    answers: BTreeMap<u16, Response>,
    refusals: Vec<ProblemKind>,
    schemas: Schemas,
}

impl Doc {
    /// Begins with its id, a verb that stays, and one line.
    pub(crate) const fn new(id: &'static str, summary: &'static str) -> Self {
        Self { id, summary, about: None, parameters: Vec::new(), body: None, answers: BTreeMap::new(), refusals: Vec::new(), schemas: Vec::new() }
    }

    /// Adds what one line does not say.
    pub(crate) const fn about(mut self, about: &'static str) -> Self {
        self.about = Some(about);
        self
    }

    /// A part of the path.
    pub(crate) fn path<T: ToSchema>(mut self, name: &str, about: &str) -> Self {
        self.note::<T>();
        self.parameter(ParameterIn::Path, name, form::reference::<T>(), about)
    }

    /// A part of the path that may be any text: one that names nothing is refused as not found.
    pub(crate) fn path_text(self, name: &str, about: &str) -> Self {
        self.parameter(ParameterIn::Path, name, form::text("Any text.").into(), about)
    }

    /// A parameter of the query with a form of its own.
    pub(crate) fn query<T: ToSchema>(mut self, name: &str, about: &str) -> Self {
        self.note::<T>();
        self.parameter(ParameterIn::Query, name, form::reference::<T>(), about)
    }

    /// A parameter of the query that is some text.
    pub(crate) fn query_text(self, name: &str, about: &str) -> Self {
        self.query_as(name, form::text("Any text.").into(), about)
    }

    /// A parameter of the query.
    pub(crate) fn query_as(self, name: &str, schema: RefOr<Schema>, about: &str) -> Self {
        self.parameter(ParameterIn::Query, name, schema, about)
    }

    /// `limit` and `cursor`, and an answer that is a page.
    pub(crate) fn pages<T: ToSchema>(mut self, about: &str) -> Self {
        self.note_answer::<T>();
        let items = form::reference::<T>();
        self.pages_of(items, about)
    }

    /// The same with items that have no name.
    pub(crate) fn pages_of(self, items: RefOr<Schema>, about: &str) -> Self {
        self.query_as("limit", form::number(1, LIMIT_MAX).into(), "The most items.")
            .query_as("cursor", form::cursor().into(), "`next_cursor` of the page before.")
            .answers_with(200, about, "application/json", form::page(items).into())
    }

    /// An answer in the form of a page that is always the only one.
    pub(crate) fn answers_whole<T: ToSchema>(mut self, about: &str) -> Self {
        self.note_answer::<T>();
        self.answers_with(200, about, "application/json", form::page(form::reference::<T>()).into())
    }

    /// A header field of the request.
    pub(crate) fn header(self, name: &str, schema: RefOr<Schema>, about: &str) -> Self {
        self.parameter(ParameterIn::Header, name, schema, about)
    }

    /// A body that must be there.
    pub(crate) fn body<T: ToSchema>(mut self) -> Self {
        self.note::<T>();
        self.body_with(form::reference::<T>(), Required::True)
    }

    /// A body that may be left out.
    pub(crate) fn optional_body<T: ToSchema>(mut self) -> Self {
        self.note::<T>();
        self.body_with(form::reference::<T>(), Required::False)
    }

    /// A body that may be left out, and says nothing.
    pub(crate) fn empty_body(self) -> Self {
        self.body_with(form::nothing().into(), Required::False)
    }

    /// A body that another place describes.
    pub(crate) fn body_with(mut self, schema: RefOr<Schema>, required: Required) -> Self {
        let content = Content::new(Some(schema));
        self.body = Some(RequestBodyBuilder::new().content("application/json", content).required(Some(required)).build());
        self.refusals.extend([ProblemKind::RequestMalformed, ProblemKind::RequestTimeout, ProblemKind::BodyTooLarge, ProblemKind::RequestInvalid]);
        self.refusals.push(ProblemKind::ContentTypeUnsupported);
        self
    }

    /// A body that is a list.
    pub(crate) fn sends_list<T: ToSchema>(mut self, required: Required) -> Self {
        self.note::<T>();
        self.body_with(ArrayBuilder::new().items(form::reference::<T>()).into(), required)
    }

    /// An answer with JSON.
    pub(crate) fn answers<T: ToSchema>(mut self, status: u16, about: &str) -> Self {
        self.note_answer::<T>();
        self.answers_with(status, about, "application/json", form::reference::<T>())
    }

    /// An answer that is a list, and no page.
    pub(crate) fn answers_list<T: ToSchema>(mut self, status: u16, about: &str) -> Self {
        self.note_answer::<T>();
        self.answers_with(status, about, "application/json", ArrayBuilder::new().items(form::reference::<T>()).into())
    }

    /// An answer in some media type; several for one status are told apart by it.
    pub(crate) fn answers_with(mut self, status: u16, about: &str, media_type: &str, schema: RefOr<Schema>) -> Self {
        let answer = self.answers.remove(&status).unwrap_or_else(|| blank(about));
        let content = ContentBuilder::new().schema(Some(schema)).build();
        self.answers.insert(status, ResponseBuilder::from(answer).content(media_type, content).build());
        self
    }

    /// An answer without a body.
    pub(crate) fn empty(mut self, status: u16, about: &str) -> Self {
        self.answers.insert(status, blank(about));
        self
    }

    /// A field that an answer always has.
    pub(crate) fn field(mut self, status: u16, name: &str, schema: RefOr<Schema>) -> Self {
        if let Some(answer) = self.answers.get_mut(&status) {
            answer.headers.insert(name.to_owned(), problem::required(schema).into());
        }
        self
    }

    /// Another operation that what was answered leads to: a member of the answer becomes a parameter there.
    pub(crate) fn leads_to(mut self, status: u16, operation: &str, parameter: &str, member: &str) -> Self {
        if let Some(answer) = self.answers.get_mut(&status) {
            let link = LinkBuilder::new().operation_id(operation).parameter(parameter, format!("$response.body#/{member}")).build();
            answer.links.insert(operation.to_owned(), link.into());
        }
        self
    }

    /// A refusal that does not follow from anything else.
    pub(crate) fn refuses(mut self, kind: ProblemKind) -> Self {
        self.refusals.push(kind);
        self
    }

    /// Whether it has parameters in its query.
    pub(crate) fn has_query(&self) -> bool {
        self.parameters.iter().any(|parameter| parameter.parameter_in == ParameterIn::Query)
    }

    /// The schemas that it refers to.
    pub(super) fn schemas(&self) -> Schemas {
        self.schemas.clone()
    }

    fn parameter(mut self, place: ParameterIn, name: &str, schema: RefOr<Schema>, about: &str) -> Self {
        let required = if place == ParameterIn::Path { Required::True } else { Required::False };
        let parameter = ParameterBuilder::new().name(name).parameter_in(place).required(required).schema(Some(schema)).description(Some(about));
        self.parameters.push(parameter.build());
        self
    }

    fn note<T: ToSchema>(&mut self) {
        self.schemas.push((T::name().into_owned(), T::schema()));
        T::schemas(&mut self.schemas);
    }

    /// What we write has every member, null where it says nothing.
    fn note_answer<T: ToSchema>(&mut self) {
        let mut schemas = vec![(T::name().into_owned(), T::schema())];
        T::schemas(&mut schemas);
        for (_, schema) in &mut schemas {
            form::complete(schema);
        }
        self.schemas.append(&mut schemas);
    }
}

/// The operation as the document has it.
pub(super) fn describe(entry: &Entry, shared: &mut BTreeMap<String, RefOr<Response>>) -> Operation {
    let Entry { path, access, doc, .. } = entry;
    let access = *access;
    let mut operation = OperationBuilder::new().operation_id(Some(doc.id)).summary(Some(doc.summary)).description(doc.about).tag(tag(path));
    for parameter in &doc.parameters {
        operation = operation.parameter(parameter.clone());
    }
    let schemes = access.schemes();
    let requirement = schemes.iter().fold(SecurityRequirement::default(), |all, scheme| all.add(*scheme, [""; 0]));
    operation = operation.request_body(doc.body.clone()).securities(Some((!schemes.is_empty()).then_some(requirement)));
    if let Access::Operator(action) = access {
        let roles: Vec<_> = Role::ALL.into_iter().filter(|role| allows(*role, action)).map(Role::as_str).collect();
        let facts = json!({ "action": action.code(), "recorded": action.recording() == Recording::Required, "roles": roles });
        operation = operation.extensions(Some(form::keyword("x-causeway", facts)));
    }
    if let Access::Member(Some(act)) = access {
        operation = operation.extensions(Some(form::keyword("x-causeway", json!({ "action": act, "recorded": true }))));
    }
    for (status, answer) in &doc.answers {
        operation = operation.response(status.to_string(), answer.clone());
    }
    let kinds: BTreeSet<_> = refusals(entry).into_iter().map(ProblemKind::code).collect();
    for (status, answer) in problem::responses(&kinds, shared) {
        if !doc.answers.contains_key(&status) {
            operation = operation.response(status.to_string(), answer);
        }
    }
    operation.build()
}

/// Every way in which an operation can be refused.
fn refusals(entry: &Entry) -> Vec<ProblemKind> {
    let Entry { path, access, doc, .. } = entry;
    let mut kinds = doc.refusals.clone();
    kinds.extend([ProblemKind::CredentialMisplaced, ProblemKind::Internal]);
    if doc.has_query() || entry.refuses_parameters() {
        kinds.push(ProblemKind::RequestInvalid);
    }
    if path.contains('{') {
        // A part that is not UTF-8, and one that names nothing.
        kinds.extend([ProblemKind::RequestMalformed, ProblemKind::ResourceNotFound]);
    }
    match access {
        Access::Open => {}
        Access::Signed => {
            kinds.retain(|kind| !matches!(kind, ProblemKind::ResourceNotFound | ProblemKind::ContentTypeUnsupported));
            kinds.extend([ProblemKind::CredentialsInvalid, ProblemKind::RouteNotFound]);
            kinds.extend([ProblemKind::Overloaded, ProblemKind::AuditUnavailable, ProblemKind::DatabaseUnavailable]);
        }
        Access::Member(act) => {
            kinds.extend([
                ProblemKind::CredentialsMissing,
                ProblemKind::CredentialsInvalid,
                ProblemKind::PeerLimited,
                ProblemKind::Overloaded,
                ProblemKind::DatabaseUnavailable,
            ]);
            if act.is_some() {
                // What somebody is in a team may not be enough for an act.
                kinds.extend([ProblemKind::RoleInsufficient, ProblemKind::AuditUnavailable]);
            }
        }
        Access::Operator(_) => {
            // A refusal by policy is recorded, whatever the action is.
            kinds.extend([ProblemKind::CredentialsMissing, ProblemKind::CredentialsInvalid, ProblemKind::RoleInsufficient]);
            kinds.extend([ProblemKind::Overloaded, ProblemKind::AuditUnavailable, ProblemKind::DatabaseUnavailable]);
        }
    }
    kinds
}

fn blank(about: &str) -> Response {
    let id = problem::required(form::text("The request's own, when it was well formed."));
    ResponseBuilder::new().description(about).header("x-request-id", id).header(header::X_CONTENT_TYPE_OPTIONS.as_str(), nosniff()).build()
}

fn nosniff() -> utoipa::openapi::Header {
    problem::required(form::word(["nosniff"]))
}

/// What an operation is about: the first part of its path behind the version.
fn tag(path: &str) -> &str {
    path.trim_start_matches("/v1").trim_start_matches('/').split('/').next().unwrap_or_default().trim_end_matches(".json")
}
