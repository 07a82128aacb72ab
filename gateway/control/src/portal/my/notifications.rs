//! How a team and its members are told: the team's webhook, and which mails somebody wants.

use std::fmt;

use axum::extract::{Path, Request, State};
use model::{
    id::{ConsumerId, NotificationId},
    problem::{Denial, ProblemKind},
    webhook::{self as form_of, Receiver, Secret},
};
use serde::{Deserialize, Serialize};
use store::{
    actor::Actor,
    notification::{
        NotificationState,
        webhook::{self, Delivery, Webhook},
        wish::{self, Topic},
    },
};
use url::Url;
use utoipa::ToSchema;
use validator::Validate;

use super::named;
use crate::{
    admin::{
        Reply, instant,
        key::life::{Nothing, optional_body},
        read, store_refusal,
    },
    body::{JsonBody, Object},
    openapi::{form, operation::Doc},
    port::Mails,
    portal::{rights::Right, session::SignedIn},
    refusal::Refusal,
    state::ControlState,
};

/// Sets the webhook of a team: its secret is drawn here, and given to the caller alone.
pub(in crate::portal) async fn hooked(state: &ControlState, consumer: ConsumerId, url: Url, actor: &Actor) -> Result<Secret, Refusal> {
    let host = url.host_str().unwrap_or_default().to_owned();
    let receiver = Receiver { url, secret: Secret::new(&state.random32()) };
    let random = state.random32();
    let Some(nonce) = random.first_chunk::<12>() else { return Err(Refusal::internal()) };
    let (sealed, version) = receiver.seal(state.peppers(), &consumer.to_string(), *nonce).ok_or_else(Refusal::internal)?;
    let primary = state.primary().map_err(|error| store_refusal(&error))?;
    webhook::put(&primary, consumer, &host, &sealed, version, actor).await.map_err(|error| store_refusal(&error))?;
    Ok(receiver.secret)
}

/// Where a webhook leads; nothing when its address was sealed under a pepper that this node does not have.
pub(in crate::portal) fn address(state: &ControlState, consumer: ConsumerId, webhook: &Webhook) -> Option<String> {
    Receiver::open(state.peppers(), &consumer.to_string(), webhook.pepper_version, &webhook.sealed).map(|receiver| receiver.url.into())
}

/// `GET /v1/my/teams/{team}/webhook`: the address may be a secret itself, so it is for owners alone.
pub(super) async fn show(State(state): State<ControlState>, visitor: SignedIn, Path(team): Path<String>) -> Result<Reply, Refusal> {
    let team = named(&visitor, &team, Right::Team)?.consumer;
    let found = read!(state, |reader| webhook::find(reader, team))?.ok_or_else(|| Refusal::not_found("webhook"))?;
    let deliveries = read!(state, |reader| webhook::deliveries(reader, team))?;
    let url = address(&state, team, &found);
    let deliveries = deliveries.into_iter().map(DeliveryView::from).collect();
    Ok(Reply::ok(&Shown { team, url, host: found.host, is_on: found.is_on, created_at: instant(found.created_at), deliveries }))
}

/// A team's webhook.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MyWebhook)]
struct Shown {
    #[schema(value_type = form::ConsumerKey)]
    team: ConsumerId,
    /// Where it leads; null when the pepper is gone that the address was sealed under: set it anew.
    url: Option<String>,
    /// The name in its address.
    host: String,
    /// False when its receiver has answered 410: set an address to switch it on.
    is_on: bool,
    #[schema(value_type = form::Instant)]
    created_at: String,
    /// The last twenty of the last seven days, newest first.
    deliveries: Vec<DeliveryView>,
}

/// A call of a webhook.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MyDelivery)]
struct DeliveryView {
    /// What receivers find in `webhook-id`.
    #[schema(value_type = form::NotificationKey)]
    id: NotificationId,
    /// What is told.
    #[serde(rename = "type")]
    kind: String,
    #[schema(value_type = form::NotificationStatus)]
    state: NotificationState,
    attempts: u32,
    #[schema(value_type = form::Instant)]
    created_at: String,
    /// When it is tried next, or was due last.
    #[schema(value_type = form::Instant)]
    due_at: String,
    /// Why the last attempt failed.
    fault: Option<String>,
}

impl From<Delivery> for DeliveryView {
    fn from(delivery: Delivery) -> Self {
        Self {
            id: delivery.id,
            kind: delivery.kind,
            state: delivery.state,
            attempts: delivery.attempts,
            created_at: instant(delivery.created_at),
            due_at: instant(delivery.due_at),
            fault: delivery.fault,
        }
    }
}

/// Where a team wants to be told.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SetWebhook {
    /// An https address without a user, a password and anything behind a `#`.
    #[schema(value_type = form::HookAddress)]
    url: String,
}

impl fmt::Debug for SetWebhook {
    // An address may let somebody in.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SetWebhook(..)")
    }
}

/// A webhook that was just set, with its secret.
#[derive(Serialize, ToSchema)]
#[schema(as = MyWebhookSet)]
struct Set {
    #[schema(value_type = form::ConsumerKey)]
    team: ConsumerId,
    /// The name in its address.
    host: String,
    /// By which receivers verify that a call is ours; it is shown here and never again.
    secret: String,
}

/// `POST /v1/my/teams/{team}/webhook`: the only answer that ever holds this secret.
pub(super) async fn set(
    State(state): State<ControlState>,
    visitor: SignedIn,
    Path(team): Path<String>,
    JsonBody(body): JsonBody<SetWebhook>,
) -> Result<Reply, Refusal> {
    let team = named(&visitor, &team, Right::Team)?.consumer;
    let url = form_of::url(&body.url).map_err(|fault| Refusal::field("/url", "format", fault.to_string()))?;
    let host = url.host_str().unwrap_or_default().to_owned();
    let secret = hooked(&state, team, url, &visitor.actor()).await?;
    Ok(Reply::ok(&Set { team, host, secret: secret.expose_secret().to_owned() }).about(format!("consumer:{team}")))
}

/// `DELETE /v1/my/teams/{team}/webhook`: doing it again changes nothing.
pub(super) async fn remove(State(state): State<ControlState>, visitor: SignedIn, Path(team): Path<String>) -> Result<Reply, Refusal> {
    let team = named(&visitor, &team, Right::Team)?.consumer;
    let primary = state.primary().map_err(|error| store_refusal(&error))?;
    webhook::remove(&primary, team).await.map_err(|error| store_refusal(&error))?;
    Ok(Reply::ok(&Removed { team, removed: true }).about(format!("consumer:{team}")))
}

/// A team that has no webhook any more.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MyWebhookRemoved)]
struct Removed {
    #[schema(value_type = form::ConsumerKey)]
    team: ConsumerId,
    removed: bool,
}

/// `POST /v1/my/teams/{team}/webhook/test`.
pub(super) async fn test(State(state): State<ControlState>, visitor: SignedIn, Path(team): Path<String>, request: Request) -> Result<Reply, Refusal> {
    optional_body::<Nothing>(request).await?;
    let team = named(&visitor, &team, Right::Team)?.consumer;
    let primary = state.primary().map_err(|error| store_refusal(&error))?;
    if webhook::test(&primary, team).await.map_err(|error| store_refusal(&error))? {
        return Ok(Reply::ok(&Tested { team, queued: true }).about(format!("consumer:{team}")));
    }
    let text = "no test was sent: there is no webhook that is on, one test is under way, or twenty were sent within an hour";
    Err(Denial::new(ProblemKind::ResourceConflict, text).into())
}

/// A team whose webhook is tried out.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MyWebhookTested)]
struct Tested {
    #[schema(value_type = form::ConsumerKey)]
    team: ConsumerId,
    queued: bool,
}

/// Which mails somebody wants.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MyMails)]
struct Wanted {
    /// Where they go.
    email: String,
    /// Whether this gateway sends mail now; what is chosen counts from the day it does.
    sent: bool,
    topics: Topics,
}

/// What mails are about, and whether somebody wants them.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MailTopics)]
struct Topics {
    /// Keys that are issued, decided, rolled or revoked.
    keys: bool,
    /// Keys that end in 14, 3 or 1 days, and at their end.
    ends: bool,
    /// People who join a team.
    team: bool,
}

impl Wanted {
    fn of(state: &ControlState, visitor: &SignedIn, refused: &[Topic]) -> Self {
        let wants = |topic| !refused.contains(&topic);
        Self {
            email: visitor.account.email.clone(),
            sent: state.mails() == Mails::Sent,
            topics: Topics { keys: wants(Topic::Keys), ends: wants(Topic::Ends), team: wants(Topic::Team) },
        }
    }
}

/// `GET /v1/my/mails`.
pub(super) async fn mails(State(state): State<ControlState>, visitor: SignedIn) -> Result<Reply, Refusal> {
    let refused = read!(state, |reader| wish::refused(reader, visitor.account.id))?;
    Ok(Reply::ok(&Wanted::of(&state, &visitor, &refused)))
}

/// What somebody wants, and does not want; what is absent stays.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangeMails {
    #[schema(value_type = ChangeTopics)]
    topics: Object<ChangeTopics>,
}

/// Topics that somebody wants, and does not want; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ChangeTopics {
    /// Keys that are issued, decided, rolled or revoked.
    keys: Option<bool>,
    /// Keys that end.
    ends: Option<bool>,
    /// People who join a team.
    team: Option<bool>,
}

/// `PATCH /v1/my/mails` (RFC 7396).
pub(super) async fn change_mails(
    State(state): State<ControlState>,
    visitor: SignedIn,
    JsonBody(body): JsonBody<ChangeMails>,
) -> Result<Reply, Refusal> {
    let Object(ChangeTopics { keys, ends, team }) = body.topics;
    let said = [(Topic::Keys, keys), (Topic::Ends, ends), (Topic::Team, team)];
    let of = |wanted: bool| -> Vec<Topic> { said.iter().filter(|(_, said)| *said == Some(wanted)).map(|(topic, _)| *topic).collect() };
    let primary = state.primary().map_err(|error| store_refusal(&error))?;
    let account = visitor.account.id;
    let refused = wish::change(&primary, account, &of(true), &of(false)).await.map_err(|error| store_refusal(&error))?;
    Ok(Reply::ok(&Wanted::of(&state, &visitor, &refused)).about(format!("account:{account}")))
}

pub(super) fn show_doc() -> Doc {
    of_team(Doc::new("getMyWebhook", "Shows the webhook of a team, and its last calls")).answers::<Shown>(200, "The webhook.")
}

pub(super) fn set_doc() -> Doc {
    let about = "The answer is the only one that ever holds the secret. It takes the place of the one before; what waits goes to the new one.";
    of_team(Doc::new("setMyWebhook", "Sets the webhook of a team").about(about)).body::<SetWebhook>().answers::<Set>(200, "It is set.")
}

pub(super) fn remove_doc() -> Doc {
    of_team(Doc::new("removeMyWebhook", "Removes the webhook of a team").about("Doing it again changes nothing."))
        .answers::<Removed>(200, "There is none any more.")
}

pub(super) fn test_doc() -> Doc {
    of_team(Doc::new("testMyWebhook", "Sends a test to the webhook of a team"))
        .empty_body()
        .answers::<Tested>(200, "It is on its way.")
        .refuses(ProblemKind::ResourceConflict)
}

pub(super) fn mails_doc() -> Doc {
    Doc::new("getMyMails", "Shows which mails you want").answers::<Wanted>(200, "What you want.")
}

pub(super) fn change_mails_doc() -> Doc {
    Doc::new("changeMyMails", "Changes which mails you want")
        .about("What is absent stays (RFC 7396). Leaks, and what is about your account itself, are always told.")
        .body::<ChangeMails>()
        .answers::<Wanted>(200, "It is so.")
}

fn of_team(doc: Doc) -> Doc {
    doc.path_text("team", "The id or the name of the team.")
}
