//! A page for each problem type.

use askama::Template;
use axum::{
    extract::{Path, State},
    response::Response,
};
use model::problem::ProblemKind;

use crate::{
    portal::{
        session::Visitor,
        site,
        view::{self, Frame, advice, markdown},
    },
    refusal::Refusal,
    state::ControlState,
};

/// What is written about them.
const WRITTEN: &str = include_str!("../../../../../docs/problems.md");

#[derive(Debug, Template)]
#[template(path = "portal/problems.html")]
struct List {
    frame: Frame,
    /// Code, status, title.
    problems: Vec<(&'static str, u16, &'static str)>,
}

#[derive(Debug, Template)]
#[template(path = "portal/problem.html")]
struct One {
    frame: Frame,
    code: &'static str,
    status: u16,
    advice: &'static str,
    /// HTML.
    about: String,
}

pub(in crate::portal) async fn list(State(state): State<ControlState>, Visitor(visitor): Visitor) -> Result<Response, Refusal> {
    let site = site::site(&state).await?;
    let problems = ProblemKind::ALL.iter().map(|kind| (kind.code(), kind.status().as_u16(), kind.title())).collect();
    view::page(&List { frame: Frame::of(&site, "Problems", visitor.as_ref()), problems })
}

pub(in crate::portal) async fn show(
    State(state): State<ControlState>,
    Visitor(visitor): Visitor,
    Path(code): Path<String>,
) -> Result<Response, Refusal> {
    let site = site::site(&state).await?;
    let kind = ProblemKind::ALL.iter().copied().find(|kind| kind.code() == code).ok_or_else(|| Refusal::not_found("problem"))?;
    let (status, advice) = (kind.status().as_u16(), advice(kind));
    let about = markdown(section(kind.code()).unwrap_or_default());
    view::page(&One { frame: Frame::of(&site, kind.title(), visitor.as_ref()), code: kind.code(), status, advice, about })
}

/// What is written about a problem: from its heading to the next.
fn section(code: &str) -> Option<&'static str> {
    let start = WRITTEN.find(&format!("\n## {code}\n"))?;
    let text = WRITTEN.get(start..)?.trim_start().split_once('\n')?.1;
    let end = text.find("\n## ").unwrap_or(text.len());
    text.get(..end)
}

#[cfg(test)]
mod tests;
