//! What stands before every page: forms come from our own pages, who is it, is there a place for the record. And how answers are
//! dressed: with strict headers, and refusals as pages.

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Redirect, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use model::problem::{Denial, ProblemKind};

use super::{
    session::{self, SignedIn},
    view,
};
use crate::{
    context::Context,
    guard,
    policy::{self, Action},
    port::{AdminEvent, AuditUnavailable},
    refusal::{self, Refusal},
    state::ControlState,
    trail::{self, Trail},
};

/// Who may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Everybody.
    Nothing,
    /// Everybody, but not often: these acts say who somebody is.
    NoneYet,
    /// Whoever has signed in, and also an operator who has yet to set up a second factor.
    Person,
    /// Whoever has signed in. What they may in a team, the handler asks.
    Account,
    /// Whoever has signed in and is an operator who may do this.
    Operator(Action),
}

/// What becomes of a request, by who sends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It goes on.
    Through,
    /// It goes on, as one of the few that a stranger has.
    Counted,
    /// It leads to the sign-in page.
    SignIn,
    /// It leads to the setting up of a second factor.
    Enroll,
    /// It is refused: no role of theirs allows this.
    Forbidden(Action),
}

/// The table.
pub(super) fn verdict(need: Need, visitor: Option<&SignedIn>) -> Verdict {
    match (need, visitor) {
        (Need::NoneYet, _) => Verdict::Counted,
        (Need::Person | Need::Account | Need::Operator(_), None) => Verdict::SignIn,
        (Need::Account | Need::Operator(_), Some(visitor)) if visitor.must_enroll => Verdict::Enroll,
        (Need::Nothing, _) | (Need::Person | Need::Account, Some(_)) => Verdict::Through,
        (Need::Operator(action), Some(visitor)) if policy::any_allows(&visitor.roles, action) => Verdict::Through,
        (Need::Operator(action), Some(_)) => Verdict::Forbidden(action),
    }
}

/// What a path stands for.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    pub(super) state: ControlState,
    pub(super) need: Need,
    pub(super) act: Option<&'static str>,
}

/// Nothing but our own files, and nobody frames us.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; form-action 'self'; \
     base-uri 'none'; frame-ancestors 'none'",
);

/// Lets a request through to its page.
pub(super) async fn gate(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let state = gate.state.clone();
    let Some(context) = request.extensions().get::<Context>().cloned() else { return Refusal::internal().into_response() };
    let place = state.portal().visits.try_acquire();
    let visitor = match &place {
        Ok(_) => session::visitor(&state, request.headers()).await,
        Err(_) => Err(Denial::new(ProblemKind::Overloaded, "too many pages are asked for at once").retry_after(1).into()),
    };
    let (visitor, answer) = match visitor {
        Ok(visitor) => {
            let answer = admitted(gate, &context, visitor.as_ref(), request, next).await;
            (visitor, answer)
        }
        // What is for everybody is shown while nobody can be told.
        Err(refusal) if gate.need == Need::Nothing && refusal.kind() == ProblemKind::DatabaseUnavailable => {
            (None, admitted(gate, &context, None, request, next).await)
        }
        Err(refusal) => (None, Err(refusal)),
    };
    let response = answer.unwrap_or_else(IntoResponse::into_response);
    dressed(&state, &context, visitor, response).await
}

async fn admitted(gate: Gate, context: &Context, visitor: Option<&SignedIn>, mut request: Request, next: Next) -> Result<Response, Refusal> {
    let Gate { state, need, act } = gate;
    if request.method() == Method::POST {
        from_here(request.headers())?;
    }
    match verdict(need, visitor) {
        Verdict::Through => {}
        Verdict::Counted => state.portal().throttle.stranger(context.peer, state.now().boot)?,
        Verdict::SignIn => return Ok(to_sign_in(&request)),
        Verdict::Enroll => return Ok(led_to(ENROLL, &request)),
        Verdict::Forbidden(action) => {
            // It is what an auditor looks for first, whatever was asked for.
            let trail = reserve(&state, context, act.unwrap_or(action.code()), visitor, &request)?;
            let text = format!("this page is for operators whose role allows `{}`", action.code());
            return Ok(trail.settle(Refusal::from(Denial::new(ProblemKind::RoleInsufficient, text)).into_response()).await);
        }
    }
    let trail = act.map(|act| reserve(&state, context, act, visitor, &request)).transpose()?;
    if let Some(visitor) = visitor.filter(|visitor| !visitor.must_enroll || need == Need::Person) {
        request.extensions_mut().insert(visitor.clone());
    }
    let response = guard::within(guard::DEADLINE, next.run(request)).await;
    Ok(match trail {
        Some(trail) => trail.settle(response).await,
        None => response,
    })
}

fn reserve(state: &ControlState, context: &Context, act: &'static str, visitor: Option<&SignedIn>, request: &Request) -> Result<Trail, Refusal> {
    let event = trail::event(state, context, act, (request.method().to_string(), request.uri().path().to_owned()));
    let event = AdminEvent { actor: visitor.map(|visitor| visitor.actor().to_string()), ..event };
    Trail::reserve(state, event).map_err(|AuditUnavailable| Refusal::audit("nothing was done, because it could not be recorded"))
}

/// A form of another site must not act for whoever is signed in here. Browsers say where a request comes from; a program that says
/// neither is no browser, and has no business with forms.
fn from_here(headers: &HeaderMap) -> Result<(), Refusal> {
    let one = |name: &str| {
        let mut values = headers.get_all(name).iter();
        let first = values.next().and_then(|value| value.to_str().ok());
        if values.next().is_some() { None } else { first }
    };
    let is_own = match (one("sec-fetch-site"), one("origin")) {
        (Some(site), _) => site == "same-origin",
        (None, Some(origin)) => one("host").is_some_and(|host| origin.strip_prefix("https://") == Some(host)),
        (None, None) => false,
    };
    if is_own {
        return Ok(());
    }
    Err(Denial::new(ProblemKind::RoleInsufficient, "this form was not sent from a page of this portal; open the page and send it from there").into())
}

/// Where operators set up a second factor.
const ENROLL: &str = "/portal/account/second-factor";

/// Leads to the sign-in page, and from there back to the page that was asked for.
fn to_sign_in(request: &Request) -> Response {
    let wanted = request.uri().path_and_query().map(http::uri::PathAndQuery::as_str).filter(|_| request.method() == Method::GET);
    let next = wanted.map(|path| format!("?next={}", view::in_query(path))).unwrap_or_default();
    if request.headers().contains_key(session::RENEWAL) {
        led_to("/portal/sign-in", request)
    } else {
        Redirect::to(&format!("/portal/sign-in{next}")).into_response()
    }
}

fn led_to(path: &'static str, request: &Request) -> Response {
    if request.headers().contains_key(session::RENEWAL) {
        // A part of a page would get the whole page of another; so the script is told to leave.
        return [(HeaderName::from_static("hx-redirect"), HeaderValue::from_static(path))].into_response();
    }
    Redirect::to(path).into_response()
}

async fn dressed(state: &ControlState, context: &Context, visitor: Option<SignedIn>, mut response: Response) -> Response {
    if let Some(refusal) = refusal::taken(&mut response) {
        response = view::refused(state, context, visitor.as_ref().filter(|visitor| !visitor.must_enroll), &refusal).await;
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    if response.status() != StatusCode::NOT_MODIFIED {
        response.extensions_mut().insert(refusal::Plain);
    }
    response
}
