//! `GET /v1/problems`: every way to say no, for programs that want to know them beforehand.

use model::problem::{Blame, ProblemKind, Retry};
use serde_json::{Value, json};

use crate::admin::Reply;

/// The registry. It is public: it says nothing that a refusal would not say.
pub(crate) async fn list() -> Reply {
    let items: Vec<Value> = ProblemKind::ALL.iter().copied().map(view).collect();
    Reply::ok(json!({ "items": items, "next_cursor": null }))
}

fn view(kind: ProblemKind) -> Value {
    let blame = match kind.blame() {
        Blame::Client => "client",
        Blame::Gateway => "gateway",
        Blame::Upstream => "upstream",
    };
    json!({
        "type": kind.type_uri(),
        "code": kind.code(),
        "status": kind.status().as_u16(),
        "title": kind.title(),
        "blame": blame,
        "retryable": kind.retry() == Retry::AfterDelay,
    })
}
