//! `GET /v1/problems`: every way to say no, for programs that want to know them beforehand.

use model::problem::{Blame, ProblemKind, Retry};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    admin::{Listed, Reply},
    openapi::{form, operation::Doc},
};

/// The registry. It is public: it says nothing that a refusal would not say.
pub(crate) async fn list() -> Reply {
    Reply::ok(&Listed::all(ProblemKind::ALL.iter().copied().map(view)))
}

/// A way to say no.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KnownProblem {
    /// Its code as a URI.
    r#type: String,
    #[schema(value_type = form::ProblemCode)]
    code: &'static str,
    status: u16,
    title: &'static str,
    #[schema(value_type = form::Culprit)]
    blame: &'static str,
    /// Whether the same request may succeed after a while.
    retryable: bool,
}

/// How [`list`] is described.
pub(crate) fn list_doc() -> Doc {
    Doc::new("listProblems", "Lists every code that a refusal can have").answers_whole::<KnownProblem>("All of them.")
}

fn view(kind: ProblemKind) -> KnownProblem {
    let blame = match kind.blame() {
        Blame::Client => "client",
        Blame::Gateway => "gateway",
        Blame::Upstream => "upstream",
    };
    let status = kind.status().as_u16();
    KnownProblem { r#type: kind.type_uri(), code: kind.code(), status, title: kind.title(), blame, retryable: kind.retry() == Retry::AfterDelay }
}
