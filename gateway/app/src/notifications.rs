//! The sender: takes what the outbox holds to people, by mail and by webhook. Every node runs one; a claim keeps two of them from sending
//! the same, unless one dies on the way: then it is sent again, under the same id.

mod letter;
mod mail;
mod tally;
mod webhook;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use anyhow::{Context, Result};
use bytes::Bytes;
use control::port::{Mails, Random};
use edge::{clock::Clock, outside::Addresses};
use model::{
    key::Peppers,
    webhook::{Receiver, Secret},
};
use serde_json::json;
use store::{
    notification::{
        self, NotificationState,
        outbox::{self, Channel, Claimed, Outcome, Target},
    },
    pool::Primary,
    topology::Topology,
};
use tokio::{task::JoinSet, time::Instant};
use url::Url;

pub use self::tally::Tally;
use self::{
    mail::{Mailer, Refused},
    webhook::{Answer, Webhooks},
};
use crate::{
    boot,
    config::{
        SecretRef,
        notifications::{NotificationsConfig, OperatorsWebhookConfig, origin},
    },
    facts::Facts,
    task::Tasks,
    wire,
};

/// How often the outbox is looked at.
const PULSE: Duration = Duration::from_millis(500);
/// What is on its way at once.
const PLACES: usize = 16;
/// After the first attempt that failed, and at most: doubled each time, and varied by half so that receivers that come back are not
/// met by everybody at once.
const RETRY_SECONDS: [f64; 2] = [2.0, 3_600.0];
/// How often it is counted what waits, and tidied up.
const COUNT_EACH: Duration = Duration::from_secs(10);
/// How often keys that end are looked for: that reads all of them.
const REMIND_EACH: Duration = Duration::from_mins(10);

/// What sends.
#[derive(Debug)]
struct Sender {
    channels: Vec<Channel>,
    webhooks: Webhooks,
    mailer: Option<Mailer>,
    operators: Vec<String>,
    operators_webhook: Option<Receiver>,
    portal: Option<Url>,
    peppers: Peppers,
}

impl Sender {
    /// A sender by the node file.
    fn new(config: &NotificationsConfig, peppers: Peppers) -> Result<Self> {
        let addresses = if config.allow_private_addresses { Addresses::Any } else { Addresses::PublicAlone };
        let webhooks = Webhooks::new(config.ca.as_deref(), addresses)?;
        let mailer = config.smtp.as_ref().map(Mailer::new).transpose()?;
        let operators_webhook = config.operators_webhook.as_ref().map(operators_receiver).transpose()?;
        let portal = config.portal_url.as_deref().map(origin).transpose().map_err(anyhow::Error::msg)?;
        let mut channels = vec![Channel::Webhook];
        if mailer.is_some() {
            channels.push(Channel::Mail);
        }
        if operators_webhook.is_some() {
            channels.push(Channel::OperatorsWebhook);
        }
        if operators_webhook.is_some() || !config.operators.is_empty() {
            channels.push(Channel::Operators);
        }
        Ok(Self { channels, webhooks, mailer, operators: config.operators.clone(), operators_webhook, portal, peppers })
    }

    const fn mails(&self) -> Mails {
        if self.mailer.is_some() { Mails::Sent } else { Mails::NotSent }
    }

    /// Sends one notification; what became of it.
    async fn send(&self, primary: &Primary, claimed: &Claimed, random: f64) -> Result<Option<Outcome>, store::error::StoreError> {
        let claim = claimed.claim;
        let again = |fault: String| Outcome::Again { after: wait_seconds(claim.attempt, random), fault };
        Ok(Some(match &claimed.target {
            Target::Nobody => Outcome::Failed("whoever it was for is not there any more".to_owned()),
            Target::Operators => {
                let addresses = if self.mailer.is_some() { self.operators.as_slice() } else { &[] };
                outbox::deal(primary, claim, addresses, self.operators_webhook.is_some()).await?;
                return Ok(None);
            }
            Target::Mail(address) => match &self.mailer {
                None => again("this node sends no mail".to_owned()),
                Some(mailer) => {
                    let letter = letter::letter(claimed.kind, &claimed.data, claimed.at, self.portal.as_ref());
                    match mailer.send(&claim.id.to_string(), address, letter, claimed.at).await {
                        Ok(()) => Outcome::Delivered,
                        Err(Refused::ForNow(fault)) => again(fault),
                        Err(Refused::ForGood(fault)) => Outcome::Failed(fault),
                    }
                }
            },
            Target::OperatorsWebhook => match &self.operators_webhook {
                None => again("this node has no webhook for operators".to_owned()),
                Some(receiver) => match self.call(receiver, claimed).await {
                    Answer::Taken => Outcome::Delivered,
                    Answer::Gone => again("the receiver answered 410".to_owned()),
                    Answer::Not(fault) => again(fault),
                },
            },
            Target::Webhook { consumer, sealed, pepper_version } => {
                let Some(receiver) = Receiver::open(&self.peppers, &consumer.to_string(), *pepper_version, sealed) else {
                    let fault = "its secret cannot be read any more: set the webhook anew";
                    return Ok(Some(again(fault.to_owned())));
                };
                match self.call(&receiver, claimed).await {
                    Answer::Taken => Outcome::Delivered,
                    Answer::Not(fault) => again(fault),
                    Answer::Gone => {
                        outbox::gone(primary, claim, *consumer, sealed).await?;
                        return Ok(None);
                    }
                }
            }
        }))
    }

    async fn call(&self, receiver: &Receiver, claimed: &Claimed) -> Answer {
        let body = json!({ "type": claimed.kind.as_str(), "timestamp": claimed.at.to_string(), "data": claimed.data });
        let seconds = Clock.wall().0 / 1_000_000;
        self.webhooks.send(receiver, &claimed.claim.id.to_string(), seconds, Bytes::from(body.to_string())).await
    }
}

fn operators_receiver(config: &OperatorsWebhookConfig) -> Result<Receiver> {
    let secret = boot::secret("secret of the operators' webhook", &config.secret)?;
    let secret =
        Secret::parse(secret.expose_secret()).context("the secret of the operators' webhook must be `whsec_` and 24 to 64 bytes in base64")?;
    let url = model::webhook::url(&config.url).map_err(|fault| anyhow::anyhow!("the address of the operators' webhook {fault}"))?;
    Ok(Receiver { url, secret })
}

/// Everything that can be said against the files and secrets that it names, by place in the node file.
pub(crate) fn mistakes(config: Option<&NotificationsConfig>) -> Vec<(String, String)> {
    let Some(config) = config else { return Vec::new() };
    // The variable is set where the node runs, which need not be here.
    let is_here = |secret: Option<&SecretRef>| !matches!(secret, Some(SecretRef::Env(name)) if boot::environment(name).is_none());
    let mut found = Vec::new();
    let mut say = |path: &str, error: anyhow::Error| found.push((path.to_owned(), format!("{error:#}")));
    if let Err(error) = Webhooks::new(config.ca.as_deref(), Addresses::PublicAlone) {
        say("notifications.ca", error);
    }
    if let Some(smtp) = config.smtp.as_ref().filter(|smtp| is_here(smtp.password.as_ref()))
        && let Err(error) = Mailer::new(smtp)
    {
        say("notifications.smtp", error);
    }
    if let Some(webhook) = config.operators_webhook.as_ref().filter(|webhook| is_here(Some(&webhook.secret)))
        && let Err(error) = operators_receiver(webhook)
    {
        say("notifications.operators_webhook.secret", error);
    }
    found
}

/// Seconds until the next attempt after this one; `random` is below 1.
fn wait_seconds(attempt: i32, random: f64) -> f64 {
    let [first, most] = RETRY_SECONDS;
    (first * 2_f64.powi(attempt.clamp(1, 30) - 1)).min(most) * (0.5 + random)
}

/// Starts the sender of a node; whether it sends mails.
///
/// # Errors
/// When a file or a secret cannot be read, or is of no use.
pub fn start(tasks: &Tasks, config: Option<&NotificationsConfig>, peppers: &Peppers, topology: &Topology, facts: &Arc<Facts>) -> Result<Mails> {
    let nothing = NotificationsConfig::default();
    let sender = Sender::new(config.unwrap_or(&nothing), peppers.clone()).context("`notifications` of the node file cannot be used")?;
    let mails = sender.mails();
    tasks.spawn("notifications", run(Arc::new(sender), topology.clone(), wire::random(), Arc::clone(facts)));
    Ok(mails)
}

/// Sends for as long as the node runs. The database may be away: what is told waits there.
async fn run(sender: Arc<Sender>, topology: Topology, random: Random, facts: Arc<Facts>) {
    let mut pulse = tokio::time::interval(PULSE);
    pulse.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut under_way, mut chores) = (JoinSet::new(), Chores::default());
    loop {
        tokio::select! {
            _ = pulse.tick() => {}
            Some(ended) = under_way.join_next(), if !under_way.is_empty() => note(ended),
        }
        while let Some(ended) = under_way.try_join_next() {
            note(ended);
        }
        let free = PLACES.saturating_sub(under_way.len());
        let Ok(primary) = topology.primary() else { continue };
        // From the hand-over on, the other process sends.
        if free == 0 || facts.handing_over.load(Ordering::Relaxed) {
            continue;
        }
        chores.due(&primary, &facts.notifications).await;
        match outbox::claim(&primary, &sender.channels, u32::try_from(free).unwrap_or(1)).await {
            Ok(claimed) => {
                for claimed in claimed {
                    let (sender, primary, facts, random) = (Arc::clone(&sender), primary.clone(), Arc::clone(&facts), fraction(&random));
                    under_way.spawn(async move { deliver(&sender, &primary, &claimed, random, &facts.notifications).await });
                }
            }
            Err(error) => tracing::debug!(error = &error as &dyn std::error::Error, "the outbox cannot be read"),
        }
    }
}

fn note(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(error = &error as &dyn std::error::Error, "sending a notification panicked; it is sent again");
    }
}

/// A number from 0 to below 1.
fn fraction(random: &Random) -> f64 {
    let mut bytes = [0; 4];
    random(&mut bytes);
    f64::from(u32::from_le_bytes(bytes)) / (f64::from(u32::MAX) + 1.0)
}

async fn deliver(sender: &Sender, primary: &Primary, claimed: &Claimed, random: f64, tally: &Tally) {
    let settled = match sender.send(primary, claimed, random).await {
        Ok(Some(outcome)) => outbox::settle(primary, claimed.claim, outcome).await,
        Ok(None) => Ok(None),
        Err(error) => Err(error),
    };
    match settled {
        Ok(state) => {
            if state == Some(NotificationState::Failed) {
                tracing::warn!(notification.id = %claimed.claim.id, notification.kind = claimed.kind.as_str(), "a notification was given up");
            }
            tally.add(state);
        }
        // The claim ends by itself, and somebody sends it again.
        Err(error) => tracing::debug!(error = &error as &dyn std::error::Error, "what became of a notification could not be noted"),
    }
}

/// What is done now and then.
#[derive(Debug, Default)]
struct Chores {
    counted: Option<Instant>,
    reminded: Option<Instant>,
}

impl Chores {
    async fn due(&mut self, primary: &Primary, tally: &Tally) {
        if self.counted.is_none_or(|last| last.elapsed() >= COUNT_EACH) {
            self.counted = Some(Instant::now());
            let counted = async {
                outbox::tidy(primary).await?;
                tally.set(outbox::measure(primary).await?);
                Ok::<(), store::error::StoreError>(())
            };
            if let Err(error) = counted.await {
                tracing::debug!(error = &error as &dyn std::error::Error, "the outbox could not be counted");
            }
        }
        if self.reminded.is_none_or(|last| last.elapsed() >= REMIND_EACH) {
            match notification::remind(primary).await {
                // As many as one round takes: there may be more.
                Ok(n) if n >= notification::REMINDERS_MAX => {}
                Ok(_) => self.reminded = Some(Instant::now()),
                Err(error) => tracing::debug!(error = &error as &dyn std::error::Error, "keys that end could not be looked for"),
            }
        }
    }
}

#[cfg(test)]
mod tests;
