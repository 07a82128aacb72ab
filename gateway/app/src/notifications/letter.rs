//! What mails say: short plain texts. Names that people chose stand in them as they are, but on one line and not long.

use std::fmt::Write as _;

use model::time::UtcMicros;
use serde_json::Value;
use store::notification::Kind;
use url::Url;

/// Characters of a name that are shown.
const NAME_MAX: usize = 60;
/// Characters of a reason: as many as one may have.
const REASON_MAX: usize = store::key::decide::REASON_CHARS_MAX;

/// A mail, before it has a receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Letter {
    pub(super) subject: String,
    pub(super) text: String,
}

/// Writes what happened.
pub(super) fn letter(kind: Kind, data: &Value, at: UtcMicros, portal: Option<&Url>) -> Letter {
    let said = Said { data };
    let (subject, happened) = told(kind, &said);
    let mut text = format!("{happened}\n\nWhen: {}\n", minute(at));
    if let Some(who) = said.who() {
        line(&mut text, "Who", &who);
    }
    if data.get("key").is_some() {
        line(&mut text, "Key", &format!("{}, ends in …{} ({})", said.name("/key/name"), said.name("/key/last_four"), said.name("/key/id")));
        line(&mut text, "Application", &said.name("/application/name"));
    }
    if data.pointer("/team/name").is_some() {
        line(&mut text, "Team", &said.name("/team/name"));
    }
    let (page, advice) = leads(kind, &said);
    match portal {
        Some(portal) => line(&mut text, "Page", &format!("{}{page}", portal.as_str().trim_end_matches('/'))),
        None => line(&mut text, "Page", &format!("{page} of the developer portal")),
    }
    if !advice.is_empty() {
        line(&mut text, "\nNote", advice);
    }
    Letter { subject, text }
}

fn line(text: &mut String, label: &str, value: &str) {
    // Writing to a text cannot fail.
    writeln!(text, "{label}: {value}").ok();
}

/// The subject, and what happened as a sentence.
fn told(kind: Kind, said: &Said<'_>) -> (String, String) {
    let (key, team) = (said.name("/key/name"), said.name("/team/name"));
    match kind {
        Kind::KeyIssued => (format!("Key {key} was issued"), "A key was issued.".to_owned()),
        Kind::KeyWaits => (format!("Key {key} waits for approval"), "A key was asked for. It works once it is approved.".to_owned()),
        Kind::KeyApproved => (format!("Key {key} is approved"), "A key that waited for approval works now.".to_owned()),
        Kind::KeyRefused => {
            let why = clean(said.data.get("reason").and_then(Value::as_str).unwrap_or_default(), REASON_MAX);
            (format!("Key {key} was refused"), format!("A key that waited for approval was refused, and never works. The reason: {why}"))
        }
        Kind::KeyRolled => (format!("Key {key} has a new secret"), "A key got a new secret.".to_owned()),
        Kind::KeyRevoked => (format!("Key {key} was revoked"), "A key was revoked: it is refused from now on.".to_owned()),
        Kind::KeyLeaked => (
            format!("Key {key} was reported as leaked and is revoked"),
            "A key was found where others can read it. It was revoked at once, and is refused from now on.".to_owned(),
        ),
        Kind::KeyEnds => {
            let days = said.data.get("days").and_then(Value::as_i64).unwrap_or(1);
            let within = if days == 1 { "a day".to_owned() } else { format!("{days} days") };
            (format!("Key {key} ends within {within}"), format!("A key ends within {within}, at {}.", said.name("/key/expires_at")))
        }
        Kind::KeyEnded => (format!("Key {key} has ended"), "A key has reached its end: it is refused from now on.".to_owned()),
        Kind::InvitationMade if team.is_empty() => {
            ("You are invited to the developer portal".to_owned(), format!("You are invited as an operator ({}).", said.name("/role")))
        }
        Kind::InvitationMade => (format!("You are invited to the team {team}"), format!("You are invited to a team as {}.", said.name("/role"))),
        Kind::MemberJoined => {
            let who = said.name("/member/name");
            (format!("{who} has joined your team"), format!("{who} has joined your team as {}.", said.name("/role")))
        }
        Kind::WebhookSet => {
            let host = said.name("/webhook/host");
            (format!("Your team's webhook leads to {host}"), format!("What is told to your team goes to a webhook at {host} from now on."))
        }
        Kind::AccountWaits => {
            ("A request for an account waits".to_owned(), "Somebody asks for an account. There may be more requests than this one.".to_owned())
        }
        Kind::AccountApproved => ("Your account is approved".to_owned(), "Your account is approved: you can sign in.".to_owned()),
        Kind::AccountRefused => ("Your request for an account".to_owned(), "Your request for an account was not granted.".to_owned()),
        Kind::Test => ("A test".to_owned(), "This is a test.".to_owned()),
    }
}

/// The page that it leads to, and what to do.
fn leads(kind: Kind, said: &Said<'_>) -> (String, &'static str) {
    let key = || format!("/portal/keys/{}", said.name("/key/id"));
    match kind {
        Kind::KeyIssued | Kind::KeyRolled | Kind::KeyRevoked => {
            (key(), "If nobody of you did this, revoke the key and look at who belongs to the team.")
        }
        Kind::KeyLeaked => (key(), "Make a new key, and remove the old one from where it was found."),
        Kind::KeyEnds => (key(), "Make a new key in time, and let your programs use it before this one ends."),
        Kind::KeyApproved | Kind::KeyEnded => (key(), ""),
        Kind::KeyRefused => (key(), "You can ask for another key."),
        Kind::KeyWaits | Kind::AccountWaits => ("/portal/approvals".to_owned(), ""),
        Kind::InvitationMade => {
            ("/portal/invitation".to_owned(), "The link that lets you in is not in this mail. Whoever invites you has it: ask them for it.")
        }
        Kind::MemberJoined | Kind::Test => ("/portal/account".to_owned(), "If nobody of you invited them, remove them."),
        Kind::WebhookSet => {
            let page = format!("/portal/teams/{}/notifications", said.name("/team/id"));
            (page, "It stays when whoever set it leaves the team. If nobody of you did this, remove it and look at who belongs to the team.")
        }
        Kind::AccountApproved => ("/portal/sign-in".to_owned(), ""),
        Kind::AccountRefused => ("/portal/".to_owned(), ""),
    }
}

/// What happened, as texts that may stand in a mail.
struct Said<'a> {
    data: &'a Value,
}

impl Said<'_> {
    fn name(&self, pointer: &str) -> String {
        clean(self.data.pointer(pointer).and_then(Value::as_str).unwrap_or_default(), NAME_MAX)
    }

    fn who(&self) -> Option<String> {
        let by = self.data.get("by")?;
        let name = self.name("/by/name");
        let who = match by.get("kind").and_then(Value::as_str) {
            Some("account") if self.data.get("ask").is_some() => self.name("/ask"),
            Some("account") => name,
            Some("reporter") => format!("the secret scanner {name}"),
            Some("operator") => format!("the operator {name}"),
            Some(_) | None => format!("the gateway ({name})"),
        };
        Some(who).filter(|who| !who.is_empty())
    }
}

/// One line, without what turns the direction of writing, and not long. A name that looks like an address leads nowhere by itself.
fn clean(text: &str, max: usize) -> String {
    let is_hidden = |c: char| c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
    let mut clean: String = text.chars().map(|c| if is_hidden(c) { ' ' } else { c }).take(max).collect();
    if text.chars().nth(max).is_some() {
        clean.push('…');
    }
    clean.replace("://", ": //")
}

/// An instant for people: to the minute, UTC.
fn minute(at: UtcMicros) -> String {
    at.to_string().get(..16).map(|text| text.replace('T', " ") + " UTC").unwrap_or_default()
}

#[cfg(test)]
mod tests;
