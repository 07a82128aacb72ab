//! How a team and its members are told: the team's webhook, and which mails somebody wants.

use askama::Template;
use axum::{
    extract::{Path, RawQuery, State},
    response::Response,
};
use model::{id::ConsumerId, secret::SecretText, webhook as form};
use store::notification::{
    NotificationState,
    webhook::{self, Delivery, Webhook},
    wish::{self, Topic},
};

use super::{primary, team, to};
use crate::{
    admin::{read, store_refusal},
    port::Mails,
    portal::{
        fields::{Fields, Wrong},
        my,
        rights::Right,
        session::{SignedIn, minute},
        site,
        view::{self, Frame},
    },
    refusal::Refusal,
    state::ControlState,
};

#[derive(Debug, Template)]
#[template(path = "portal/notifications.html")]
struct Page {
    frame: Frame,
    id: String,
    team: String,
    sends_mail: bool,
    webhook: Option<Shown>,
    /// The secret of a webhook that was just set; shown once.
    secret: Option<SecretText>,
    deliveries: Vec<Line>,
    url: String,
    wrong: Wrong,
}

/// The webhook as its owners see it.
#[derive(Debug)]
struct Shown {
    /// The name alone when the address cannot be read any more.
    url: String,
    since: String,
    is_on: bool,
}

#[derive(Debug)]
struct Line {
    id: String,
    kind: String,
    at: String,
    state: String,
    attempts: u32,
    fault: String,
}

/// The page, whose address of the webhook may be a secret itself: for owners alone.
pub(in crate::portal) async fn show(
    State(state): State<ControlState>,
    visitor: SignedIn,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refusal> {
    let page = shown(&state, &visitor, team(&id)?, String::new(), Wrong::default()).await?;
    view::page(&Page { frame: page.frame.saying(query.as_deref()), ..page })
}

async fn shown(state: &ControlState, visitor: &SignedIn, consumer: ConsumerId, url: String, wrong: Wrong) -> Result<Page, Refusal> {
    let membership = visitor.may(consumer, Right::Team, "team")?;
    let site = site::site(state).await?;
    let found = read!(state, |reader| webhook::find(reader, consumer))?;
    let deliveries = read!(state, |reader| webhook::deliveries(reader, consumer))?;
    let webhook = found.map(|found: Webhook| {
        let url = my::address(state, consumer, &found).unwrap_or(found.host);
        Shown { url, since: minute(found.created_at), is_on: found.is_on }
    });
    Ok(Page {
        frame: Frame::of(&site, format!("Notifications of {}", membership.consumer_name), Some(visitor)),
        id: consumer.to_string(),
        team: membership.consumer_name.clone(),
        sends_mail: state.mails() == Mails::Sent,
        webhook,
        secret: None,
        deliveries: deliveries.into_iter().map(Line::of).collect(),
        url,
        wrong,
    })
}

impl Line {
    fn of(delivery: Delivery) -> Self {
        let state = match (delivery.state, delivery.attempts) {
            (NotificationState::Delivered, _) => "delivered".to_owned(),
            (NotificationState::Failed, _) => "given up".to_owned(),
            (NotificationState::Queued, 0) => "waits".to_owned(),
            (NotificationState::Queued, _) => format!("again at {}", minute(delivery.due_at)),
        };
        Self {
            id: delivery.id.to_string(),
            kind: delivery.kind,
            at: minute(delivery.created_at),
            state,
            attempts: delivery.attempts,
            fault: delivery.fault.unwrap_or_default(),
        }
    }
}

/// Sets the webhook. Its secret is drawn here, and shown in this answer alone.
pub(in crate::portal) async fn set(
    State(state): State<ControlState>,
    visitor: SignedIn,
    Path(id): Path<String>,
    mut fields: Fields,
) -> Result<Response, Refusal> {
    let consumer = team(&id)?;
    visitor.may(consumer, Right::Team, "team")?;
    let text = fields.text("url").trim().to_owned();
    let read = form::url(&text);
    if let Err(fault) = &read {
        fields.refuse("url", fault.to_string());
    }
    let wrong = fields.finish()?;
    let (Ok(url), true) = (read, wrong.is_empty()) else {
        return view::form(&wrong.clone(), &shown(&state, &visitor, consumer, text, wrong).await?);
    };
    let secret = my::hooked(&state, consumer, url, &visitor.actor()).await?;
    let page = shown(&state, &visitor, consumer, String::new(), Wrong::default()).await?;
    view::page(&Page { secret: Some(SecretText::new(secret.expose_secret().to_owned())), ..page })
}

/// Queues a trial.
pub(in crate::portal) async fn test(
    State(state): State<ControlState>,
    visitor: SignedIn,
    Path(id): Path<String>,
    fields: Fields,
) -> Result<Response, Refusal> {
    let consumer = team(&id)?;
    visitor.may(consumer, Right::Team, "team")?;
    fields.finish()?;
    if webhook::test(&primary(&state)?, consumer).await.map_err(|error| store_refusal(&error))? {
        return Ok(done(consumer, "webhook-tested"));
    }
    let wrong = Wrong::one("test", "No test was sent: there is no webhook that is on, one test is under way, or twenty were sent within an hour.");
    view::form(&wrong.clone(), &shown(&state, &visitor, consumer, String::new(), wrong).await?)
}

/// Forgets the webhook.
pub(in crate::portal) async fn remove(
    State(state): State<ControlState>,
    visitor: SignedIn,
    Path(id): Path<String>,
    fields: Fields,
) -> Result<Response, Refusal> {
    let consumer = team(&id)?;
    visitor.may(consumer, Right::Team, "team")?;
    fields.finish()?;
    webhook::remove(&primary(&state)?, consumer).await.map_err(|error| store_refusal(&error))?;
    Ok(done(consumer, "webhook-removed"))
}

fn done(consumer: ConsumerId, word: &str) -> Response {
    to(&format!("/portal/teams/{consumer}/notifications?done={word}"), format!("consumer:{consumer}"))
}

#[derive(Debug, Template)]
#[template(path = "portal/mails.html")]
struct MailsPage {
    frame: Frame,
    email: String,
    sends_mail: bool,
    topics: Vec<(&'static str, &'static str, bool)>,
}

/// What each topic is about.
const TOPICS: [(Topic, &str); 3] = [
    (Topic::Keys, "Keys that are issued, approved or refused, rolled or revoked"),
    (Topic::Ends, "Keys that end in 14, 3 or 1 days, and at their end"),
    (Topic::Team, "People who join the team"),
];

/// Which mails somebody wants.
pub(in crate::portal) async fn mails(State(state): State<ControlState>, visitor: SignedIn, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let site = site::site(&state).await?;
    let refused = read!(state, |reader| wish::refused(reader, visitor.account.id))?;
    view::page(&MailsPage {
        frame: Frame::of(&site, "Your mails", Some(&visitor)).saying(query.as_deref()),
        email: visitor.account.email.clone(),
        sends_mail: state.mails() == Mails::Sent,
        topics: TOPICS.iter().map(|(topic, words)| (topic.as_str(), *words, !refused.contains(topic))).collect(),
    })
}

/// Changes which mails somebody wants.
pub(in crate::portal) async fn set_mails(State(state): State<ControlState>, visitor: SignedIn, mut fields: Fields) -> Result<Response, Refusal> {
    let wanted = fields.list("topic");
    fields.finish()?;
    if wanted.iter().any(|name| Topic::parse(name).is_none()) {
        return Err(Refusal::field("/topic", "enum", "must be keys, ends or team"));
    }
    let refused: Vec<Topic> = Topic::ALL.into_iter().filter(|topic| !wanted.iter().any(|name| name == topic.as_str())).collect();
    wish::refuse(&primary(&state)?, visitor.account.id, &refused).await.map_err(|error| store_refusal(&error))?;
    Ok(to("/portal/account/notifications?done=mails-changed", format!("account:{}", visitor.account.id)))
}
