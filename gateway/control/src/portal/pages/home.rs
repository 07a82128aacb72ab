//! The first page: what there is to call.

use askama::Template;
use axum::{
    extract::{Path, RawQuery, State},
    response::{IntoResponse, Redirect, Response},
};
use model::problem::{Denial, ProblemKind};

use crate::{
    portal::{
        session::Visitor,
        site::{self, Site},
        view::{self, Frame},
    },
    refusal::Refusal,
    state::ControlState,
};

#[derive(Debug, Template)]
#[template(path = "portal/home.html")]
struct Home<'s> {
    frame: Frame,
    site: &'s Site,
}

pub(in crate::portal) async fn show(
    State(state): State<ControlState>,
    Visitor(visitor): Visitor,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let site = site::site(&state).await?;
    view::page(&Home { frame: Frame::of(&site, "APIs", visitor.as_ref()).saying(query.as_deref()), site: &site })
}

/// `/portal` without a slash.
pub(in crate::portal) async fn short() -> Response {
    Redirect::permanent("/portal/").into_response()
}

/// Any path that no page has.
pub(in crate::portal) async fn missing(_: Path<String>) -> Refusal {
    Denial::new(ProblemKind::RouteNotFound, "the portal has no such page").into()
}
