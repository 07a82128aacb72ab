//! What is done with a key on its page.

use axum::{
    extract::{Path, State},
    response::Response,
};
use model::{
    change::{KeyState, Revisions},
    key,
};
use store::{
    error::StoreError,
    key::{
        KeyInfo, RevokedReason,
        life::{Roll, WhileRolling},
    },
};

use super::{OVERLAPS, found, key_page, shown_once};
use crate::{
    admin::{key::draw, read, store_refusal},
    portal::{
        fields::{Fields, Wrong},
        pages::{is_conflict, primary, to},
        rights::Right,
        session::SignedIn,
        site, view,
    },
    refusal::Refusal,
    state::ControlState,
};

pub(in crate::portal) async fn roll(
    State(state): State<ControlState>,
    visitor: SignedIn,
    Path(id): Path<String>,
    mut fields: Fields,
) -> Result<Response, Refusal> {
    let key = found(&state, &visitor, &id, Right::Keys).await?;
    let hours = fields.text("hours").parse::<i64>().ok().filter(|hours| OVERLAPS.iter().any(|(_, known)| known == hours));
    if hours.is_none() {
        fields.refuse("roll", "choose an overlap of the list");
    }
    let mut wrong = fields.finish()?;
    if let (Some(hours), true) = (hours, wrong.is_empty()) {
        let now = state.now().wall;
        // Everything that the page needs is read before: a secret that is not shown is lost.
        let application = read!(state, |reader| store::application::get(reader, key.application))?;
        let site = site::site(&state).await?;
        let issued = draw(|state| key::reissue(key.environment.purpose(), key.id, state.peppers(), &state.random32()), &state)?;
        let overlap_until = (hours > 0).then(|| now.plus_seconds(hours * 3_600));
        let roll = Roll { issued: &issued, overlap_until, while_rolling: WhileRolling::default(), now };
        match store::key::life::roll(&primary(&state)?, &key.id, roll, &visitor.actor()).await {
            Ok(written) => {
                return shown_once(&state, &site, &visitor, &application, &written, &issued, true).await;
            }
            Err(error) => wrong = mistake(&error, "roll")?,
        }
    }
    view::form(&wrong.clone(), &Box::pin(key_page(&state, &visitor, &key, wrong)).await?)
}

pub(in crate::portal) async fn end_overlap(
    State(state): State<ControlState>,
    visitor: SignedIn,
    Path(id): Path<String>,
    fields: Fields,
) -> Result<Response, Refusal> {
    let key = found(&state, &visitor, &id, Right::Keys).await?;
    fields.finish()?;
    let done = store::key::life::end_overlap(&primary(&state)?, &key.id, &visitor.actor()).await.map(|written| written.revisions);
    Box::pin(after(&state, &visitor, &key, done, ("roll", "overlap-ended"))).await
}

pub(in crate::portal) async fn disable(
    State(state): State<ControlState>,
    visitor: SignedIn,
    Path(id): Path<String>,
    fields: Fields,
) -> Result<Response, Refusal> {
    Box::pin(switch(&state, &visitor, &id, fields, (KeyState::Active, KeyState::Disabled, "key-disabled"))).await
}

pub(in crate::portal) async fn enable(
    State(state): State<ControlState>,
    visitor: SignedIn,
    Path(id): Path<String>,
    fields: Fields,
) -> Result<Response, Refusal> {
    Box::pin(switch(&state, &visitor, &id, fields, (KeyState::Disabled, KeyState::Active, "key-enabled"))).await
}

async fn switch(
    state: &ControlState,
    visitor: &SignedIn,
    id: &str,
    fields: Fields,
    (from, into, said): (KeyState, KeyState, &'static str),
) -> Result<Response, Refusal> {
    let key = found(state, visitor, id, Right::Keys).await?;
    fields.finish()?;
    // What the API's owner has switched off, a team does not switch on again.
    if key.is_off_by_owner() && into == KeyState::Active {
        let wrong = Wrong::one("state", "the API's owner has switched this key off; ask them");
        return view::form(&wrong.clone(), &Box::pin(key_page(state, visitor, &key, wrong)).await?);
    }
    let done = store::key::life::set_state(&primary(state)?, &key.id, from, into, &visitor.actor()).await.map(|written| written.revisions);
    Box::pin(after(state, visitor, &key, done, ("state", said))).await
}

pub(in crate::portal) async fn revoke(
    State(state): State<ControlState>,
    visitor: SignedIn,
    Path(id): Path<String>,
    mut fields: Fields,
) -> Result<Response, Refusal> {
    let key = found(&state, &visitor, &id, Right::Keys).await?;
    let typed = fields.text("confirm");
    let reason = if fields.text("leaked").is_empty() { RevokedReason::Asked } else { RevokedReason::Leaked };
    fields.finish()?;
    if typed.trim() != key.name.trim() {
        let wrong = Wrong::one("revoke", "type the key's name, exactly, to revoke it");
        return view::form(&wrong.clone(), &Box::pin(key_page(&state, &visitor, &key, wrong)).await?);
    }
    let done = store::key::revoke(&primary(&state)?, &key.id, reason, &visitor.actor()).await.map(|revoked| revoked.revisions);
    Box::pin(after(&state, &visitor, &key, done, ("revoke", "key-revoked"))).await
}

/// Leads back to the key after an act, or shows what was in its way.
async fn after(
    state: &ControlState,
    visitor: &SignedIn,
    key: &KeyInfo,
    done: Result<Revisions, StoreError>,
    (field, said): (&'static str, &'static str),
) -> Result<Response, Refusal> {
    match done {
        Ok(Revisions { epoch, authority, .. }) => {
            let path = format!("/portal/keys/{}?done={said}&at={epoch}.{authority}", key.id);
            Ok(to(&path, format!("key:{}", key.id)))
        }
        Err(error) => {
            let wrong = mistake(&error, field)?;
            view::form(&wrong.clone(), &Box::pin(key_page(state, visitor, key, wrong)).await?)
        }
    }
}

/// What is in the way of an act, in words for the page.
fn mistake(error: &StoreError, field: &'static str) -> Result<Wrong, Refusal> {
    if is_conflict(error, "key_rolling") {
        return Ok(Wrong::one(field, "the old secret of the last roll still works: end its overlap first"));
    }
    if is_conflict(error, "key_state") {
        return Ok(Wrong::one(field, "the key is in a state that does not allow this; somebody else may have changed it just now"));
    }
    Err(store_refusal(error))
}
