//! The first page: what there is to call.

use askama::Template;
use axum::{
    extract::{Path, RawQuery, State},
    response::{IntoResponse, Redirect, Response},
};
use model::problem::{Denial, ProblemKind};

use crate::{
    admin::read,
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
    /// Keys of the visitor's teams that have leaked of late.
    leaked: Vec<(String, String)>,
}

/// For how many days the first page tells of a leak; the pages of the key and its application always do.
const LEAK_DAYS: i64 = 30;
const LEAKS_MAX: u32 = 5;

pub(in crate::portal) async fn show(
    State(state): State<ControlState>,
    Visitor(visitor): Visitor,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let site = site::site(&state).await?;
    let leaked = match &visitor {
        Some(visitor) if !visitor.teams.is_empty() => {
            let teams: Vec<_> = visitor.teams.iter().map(|team| team.consumer).collect();
            let since = state.now().wall.plus_seconds(-LEAK_DAYS * 86_400);
            read!(state, |reader| store::key::leaked(reader, &teams, since, LEAKS_MAX))?
        }
        Some(_) | None => Vec::new(),
    };
    view::page(&Home { frame: Frame::of(&site, "APIs", visitor.as_ref()).saying(query.as_deref()), site: &site, leaked })
}

/// `/portal` without a slash.
pub(in crate::portal) async fn short() -> Response {
    Redirect::permanent("/portal/").into_response()
}

/// Any path that no page has.
pub(in crate::portal) async fn missing(_: Path<String>) -> Refusal {
    Denial::new(ProblemKind::RouteNotFound, "the portal has no such page").into()
}
