//! The record of an act in the control plane: its place is taken before anything is done, and what was done is told when it is on disk.

use audit::event::Outcome;
use axum::response::{IntoResponse, Response};
use model::{jwt, problem::ProblemKind, time::BootNanos};

use crate::{
    context::Context,
    port::{AdminEvent, AuditPlace, AuditUnavailable},
    refusal::{self, Refusal},
    state::ControlState,
};

/// In the place of a path that holds a token: it is refused or leads nowhere, and must not come to lie in the log.
const REDACTED: &str = "[redacted: holds a credential]";

/// What an act was about. A handler leaves it with its answer, for the record.
#[derive(Debug, Clone)]
pub(crate) struct Object(pub(crate) String);

/// An event as far as it is known when the head of the request has arrived.
pub(crate) fn event(state: &ControlState, context: &Context, action: &'static str, (method, path): (String, String)) -> AdminEvent {
    AdminEvent {
        event_id: state.uuid_v7(context.started.wall),
        at: context.started.wall,
        request_id: context.request_id.clone(),
        actor: None,
        token_id: None,
        action,
        object: None,
        method,
        path: Some(if jwt::held::is_held_by(&path) { REDACTED.to_owned() } else { path }),
        outcome: Outcome::Unknown,
        status: None,
        reason: None,
        client_address: context.peer.map(|peer| peer.0),
        duration_us: 0,
        count: 1,
    }
}

/// The record of an act, whose place was taken before the act. Dropping it unsettled (the client went away, or a panic)
/// still writes the record, with an outcome that says so.
#[derive(Debug)]
pub(crate) struct Trail {
    state: ControlState,
    place: Option<Box<dyn AuditPlace>>,
    event: Option<AdminEvent>,
    started: BootNanos,
}

impl Trail {
    /// Takes the place of a record.
    pub(crate) fn reserve(state: &ControlState, event: AdminEvent) -> Result<Self, AuditUnavailable> {
        let place = state.audit().reserve()?;
        let started = state.now().boot;
        Ok(Self { state: state.clone(), place: Some(place), event: Some(event), started })
    }

    /// Writes the record, waits until it is on disk, and only then lets the answer go.
    pub(crate) async fn settle(mut self, response: Response) -> Response {
        let Some((place, mut event)) = self.take() else { return Refusal::internal().into_response() };
        let status = response.status();
        event.status = Some(status.as_u16());
        event.reason = refusal::kind_of(&response).map(ProblemKind::code);
        event.outcome = match () {
            () if status.is_server_error() => Outcome::Error,
            () if status.is_client_error() => Outcome::Denied,
            () => Outcome::Ok,
        };
        if let Some(Object(object)) = response.extensions().get::<Object>() {
            event.object = Some(object.clone());
        }
        match place.record(event).await {
            Ok(()) => response,
            Err(AuditUnavailable) => Refusal::audit("what was done could not be recorded; look before you try again").into_response(),
        }
    }

    fn take(&mut self) -> Option<(Box<dyn AuditPlace>, AdminEvent)> {
        let mut event = self.event.take()?;
        event.duration_us = self.state.now().boot.nanos_since(self.started) / 1_000;
        Some((self.place.take()?, event))
    }
}

impl Drop for Trail {
    fn drop(&mut self) {
        if let Some((place, mut event)) = self.take() {
            // Whether the act took place is not known: its transaction may have been at its commit.
            event.outcome = if std::thread::panicking() { Outcome::Error } else { Outcome::Unknown };
            drop(place.record(event));
        }
    }
}
