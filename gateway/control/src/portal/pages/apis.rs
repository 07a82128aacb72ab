//! One API: its operations, and what each needs.

use askama::Template;
use axum::{
    extract::{Path, State},
    response::Response,
};

use crate::{
    portal::{
        catalogue::Api,
        session::Visitor,
        site,
        view::{self, Frame},
    },
    refusal::Refusal,
    state::ControlState,
};

#[derive(Debug, Template)]
#[template(path = "portal/api.html")]
struct ApiPage<'s> {
    frame: Frame,
    api: &'s Api,
}

pub(in crate::portal) async fn show(
    State(state): State<ControlState>,
    Visitor(visitor): Visitor,
    Path(name): Path<String>,
) -> Result<Response, Refusal> {
    let site = site::site(&state).await?;
    let api = site.api(&name).ok_or_else(|| Refusal::not_found("API"))?;
    view::page(&ApiPage { frame: Frame::of(&site, api.title.as_str(), visitor.as_ref()), api })
}
