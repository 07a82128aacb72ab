//! How pages are made: the frame around each of them, and what a refusal looks like to a person.

use askama::Template;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use model::problem::{Blame, ProblemKind, Retry};
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use super::{fields::Wrong, session::SignedIn, site, site::Site};
use crate::{
    context::Context,
    policy::{self, Action},
    refusal::Refusal,
    state::ControlState,
};

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

/// What stands around every page.
#[derive(Debug)]
pub(super) struct Frame {
    /// What the portal is called.
    pub(super) site: String,
    /// What the page is called.
    pub(super) title: String,
    pub(super) visitor: Option<Who>,
    pub(super) takes_sign_ups: bool,
    /// What was done before this page was shown.
    pub(super) done: Option<&'static str>,
}

/// Whoever looks.
#[derive(Debug)]
pub(super) struct Who {
    pub(super) name: String,
    pub(super) is_approver: bool,
    /// They may see how the nodes are.
    pub(super) sees_nodes: bool,
    /// Ids and names of their teams.
    pub(super) teams: Vec<(String, String)>,
}

impl Frame {
    /// The frame of a page.
    pub(super) fn of(site: &Site, title: impl Into<String>, visitor: Option<&SignedIn>) -> Self {
        Self { site: site.title.clone(), title: title.into(), visitor: visitor.map(Who::of), takes_sign_ups: site.takes_sign_ups(), done: None }
    }

    /// Says what was done, by a word of a list: a page never shows text that stands in its address.
    pub(super) fn saying(mut self, query: Option<&str>) -> Self {
        let word = query.and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("done=")));
        self.done = word.and_then(|word| DONE.iter().find(|(name, _)| *name == word)).map(|(_, text)| *text);
        self
    }
}

/// What pages say after an act.
const DONE: [(&str, &str); 26] = [
    ("application-deleted", "The application is deleted, and its keys have ended."),
    ("application-created", "The application is made. It needs a key next."),
    ("key-made-before", "This form has made this key already. Its secret was shown then, and cannot be shown again."),
    ("key-disabled", "The key is switched off."),
    ("key-enabled", "The key is switched on again."),
    ("key-revoked", "The key is revoked."),
    ("overlap-ended", "The old secret is not taken any more."),
    ("invitation-withdrawn", "The invitation is withdrawn."),
    ("role-changed", "The role is changed."),
    ("member-removed", "The member is removed."),
    ("team-left", "You have left the team."),
    ("password-changed", "The password is changed; every other session has ended."),
    ("token-revoked", "The token is revoked; it may be taken for some seconds elsewhere."),
    ("factor-removed", "The second factor is gone; every other session has ended."),
    ("password-reset", "The password is changed, and every session has ended. Sign in with the new one."),
    ("sign-in-over", "That sign-in is over: it took too long, or the codes were wrong too often. Begin again."),
    ("signed-out", "You are signed out."),
    ("account-approved", "The account is approved."),
    ("account-refused", "The request is refused."),
    ("key-approved", "The key is approved."),
    ("key-refused", "The key is refused, and its team is told why."),
    ("webhook-tested", "A test is on its way; its state stands below in a moment."),
    ("webhook-removed", "The webhook is removed."),
    ("mails-changed", "Your choice is saved."),
    ("joined", "You have joined the team."),
    ("welcome", "Your account is ready. Make your first application next."),
];

impl Who {
    fn of(visitor: &SignedIn) -> Self {
        Self {
            name: visitor.account.name.clone(),
            is_approver: policy::any_allows(&visitor.roles, Action::KeyApprove),
            sees_nodes: policy::any_allows(&visitor.roles, Action::NodeRead),
            teams: visitor.teams.iter().map(|team| (team.consumer.to_string(), team.consumer_name.clone())).collect(),
        }
    }
}

/// A page.
pub(super) fn page(template: &impl Template) -> Result<Response, Refusal> {
    with_status(StatusCode::OK, template)
}

/// A form with its mistakes: 422, so that programs see it too.
pub(super) fn form(wrong: &Wrong, template: &impl Template) -> Result<Response, Refusal> {
    with_status(if wrong.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY }, template)
}

fn with_status(status: StatusCode, template: &impl Template) -> Result<Response, Refusal> {
    let html = template.render().map_err(|error| crate::admin::unexpected(&error))?;
    Ok((status, [(header::CONTENT_TYPE, HTML)], html).into_response())
}

/// What a refusal looks like.
#[derive(Debug, Template)]
#[template(path = "portal/refused.html")]
struct Refused {
    frame: Frame,
    status: u16,
    code: &'static str,
    detail: String,
    request_id: String,
    advice: &'static str,
}

/// The page of a refusal. While the database is away it stands in a plain frame.
pub(super) async fn refused(state: &ControlState, context: &Context, visitor: Option<&SignedIn>, refusal: &Refusal) -> Response {
    let kind = refusal.kind();
    let frame = match site::site(state).await {
        Ok(site) => Frame::of(&site, kind.title(), visitor),
        Err(_) => Frame { site: "Developer portal".to_owned(), title: kind.title().to_owned(), visitor: None, takes_sign_ups: false, done: None },
    };
    let page = Refused {
        frame,
        status: kind.status().as_u16(),
        code: kind.code(),
        detail: refusal.detail(),
        request_id: context.request_id.clone(),
        advice: advice(kind),
    };
    let Ok(mut response) = with_status(kind.status(), &page) else { return kind.status().into_response() };
    if let Some(seconds) = refusal.retry_after() {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Who has to do something, in words.
pub(super) const fn advice(kind: ProblemKind) -> &'static str {
    match (kind.blame(), kind.retry()) {
        (Blame::Client, Retry::Never) => "The request has to be changed: sent again as it is, it would be refused again.",
        (Blame::Client, Retry::AfterDelay) => "Wait a while, then send it again.",
        (Blame::Gateway, Retry::Never) => "The gateway does not do this.",
        (Blame::Gateway, Retry::AfterDelay) => "The gateway cannot do this now. Send it again after a while.",
        (Blame::Upstream, _) => "The service behind the gateway failed. Send it again after a while, or ask the API's owner.",
    }
}

/// Markdown as HTML. HTML within it is shown as text: a description may come from anywhere.
pub(super) fn markdown(text: &str) -> String {
    let events = Parser::new_ext(text, Options::ENABLE_TABLES).map(harmless);
    let mut html = String::new();
    pulldown_cmark::html::push_html(&mut html, events);
    html
}

/// HTML becomes text. A link or an image of another scheme than the web's, or of a place in the page, is none; pictures of elsewhere are not
/// loaded, since the page makes no outside call.
fn harmless(event: Event<'_>) -> Event<'_> {
    let is_fine = |url: &str| url.starts_with("https://") || url.starts_with('#');
    if let Event::Html(html) | Event::InlineHtml(html) = event {
        return Event::Text(html);
    }
    if let Event::Start(Tag::Link { link_type, dest_url, title, id }) = event {
        let dest_url = if is_fine(&dest_url) { dest_url } else { "#".into() };
        return Event::Start(Tag::Link { link_type, dest_url, title, id });
    }
    if let Event::Start(Tag::Image { link_type, title, id, .. }) = event {
        return Event::Start(Tag::Link { link_type, dest_url: "#".into(), title, id });
    }
    if event == Event::End(TagEnd::Image) { Event::End(TagEnd::Link) } else { event }
}

/// A text as a value in a query (RFC 3986 section 3.4).
pub(super) fn in_query(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b'/') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.extend(
                [byte >> 4, byte & 15].iter().filter_map(|digit| char::from_digit(u32::from(*digit), 16)).map(|digit| digit.to_ascii_uppercase()),
            );
        }
    }
    out
}
