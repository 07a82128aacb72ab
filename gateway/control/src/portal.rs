//! The developer portal: server-rendered pages under `/portal` where developers help themselves. Catalogue first, key second.
//!
//! Reading order:
//! 1. [`table`]: every page and every act, with who may ask for it;
//! 2. `gate`: what stands before each of them (same site, who is it, is it recorded) and how answers are dressed;
//! 3. `session`, `password`, `second_factor`, `throttle`: who is it;
//! 4. `rights`: what a member of a team may do;
//! 5. `site`, `catalogue`: what the pages tell about the deployment;
//! 6. `my`: the same for programs, under `/v1/my`;
//! 7. `pages`: one module for each part of the portal; their HTML is in `templates/portal`, styles and scripts in `assets`.

mod assets;
mod catalogue;
mod fields;
mod gate;
pub(crate) mod my;
mod pages;
mod password;
mod provider;
mod rights;
mod second_factor;
mod session;
mod site;
mod state;
mod throttle;
mod view;

use axum::{
    Router,
    handler::Handler,
    middleware,
    routing::{MethodRouter, get, post},
};

use self::{
    gate::{Gate, Need},
    pages::{
        account, apis, applications, approvals, home, invitation, keys, notifications, problems, regions, requests, reset, second_factor as factor,
        sign, sign_code, sign_provider, team, tokens, try_it, usage,
    },
};
pub(crate) use self::{
    pages::team_names,
    rights::{Right, allows as member_may},
    site::tenant,
    state::Portal,
};
use crate::{policy::Action, state::ControlState};

/// One page, or one act.
struct Entry {
    path: &'static str,
    need: Need,
    /// What the act is called in the access log; pages that only show are not recorded.
    act: Option<&'static str>,
    handler: MethodRouter<ControlState>,
}

fn page<H: Handler<T, ControlState>, T: 'static>(path: &'static str, need: Need, handler: H) -> Entry {
    Entry { path, need, act: None, handler: get(handler) }
}

fn act<H: Handler<T, ControlState>, T: 'static>(path: &'static str, need: Need, name: &'static str, handler: H) -> Entry {
    Entry { path, need, act: Some(name), handler: post(handler) }
}

/// What an operator decides is called as in the admin API.
fn decision<H: Handler<T, ControlState>, T: 'static>(path: &'static str, action: Action, handler: H) -> Entry {
    act(path, Need::Operator(action), action.code(), handler)
}

/// Every page and every act.
fn table() -> Vec<Entry> {
    let mut table = open_entries();
    table.extend(member_entries());
    table.extend(team_entries());
    table
}

fn open_entries() -> Vec<Entry> {
    vec![
        page("/portal", Need::Nothing, home::short),
        page("/portal/", Need::Nothing, home::show),
        page("/portal/apis/{api}", Need::Nothing, apis::show),
        page("/portal/apis/{api}/{operation}", Need::Nothing, try_it::show),
        page("/portal/problems", Need::Nothing, problems::list),
        page("/portal/problems/{code}", Need::Nothing, problems::show),
        page("/portal/sign-up", Need::Nothing, sign::up_form),
        act("/portal/sign-up", Need::NoneYet, "account.sign_up", sign::up),
        page("/portal/sign-in", Need::Nothing, sign::in_form),
        act("/portal/sign-in", Need::NoneYet, "account.sign_in", sign::sign_in),
        page("/portal/sign-in/code", Need::Nothing, sign_code::form),
        act("/portal/sign-in/code", Need::NoneYet, "account.sign_in_code", sign_code::send),
        page("/portal/sign-in/provider", Need::NoneYet, sign_provider::begin),
        Entry {
            path: "/portal/sign-in/provider/back",
            need: Need::NoneYet,
            act: Some("account.sign_in_provider"),
            handler: get(sign_provider::back),
        },
        page("/portal/reset", Need::Nothing, reset::form),
        act("/portal/reset", Need::NoneYet, "account.set_password", reset::send),
        page("/portal/invitation", Need::Nothing, invitation::form),
        act("/portal/invitation", Need::NoneYet, "invitation.accept", invitation::accept),
        page("/portal/{*rest}", Need::Nothing, home::missing),
    ]
}

fn member_entries() -> Vec<Entry> {
    vec![
        act("/portal/sign-out", Need::Person, "account.sign_out", sign::out),
        // The record of the call itself is the data plane's.
        Entry { path: "/portal/apis/{api}/{operation}", need: Need::Account, act: None, handler: post(try_it::send) },
        page("/portal/account", Need::Account, account::show),
        act("/portal/account/password", Need::Account, "account.change_password", account::change_password),
        act("/portal/account/sign-out-everywhere", Need::Account, "account.sign_out_everywhere", account::sign_out_everywhere),
        page("/portal/account/tokens", Need::Account, tokens::show),
        act("/portal/account/tokens", Need::Account, "account.make_token", tokens::create),
        act("/portal/account/tokens/{id}/revoke", Need::Account, "account.revoke_token", tokens::revoke),
        page("/portal/account/second-factor", Need::Person, factor::show),
        act("/portal/account/second-factor/begin", Need::Account, "account.begin_second_factor", factor::begin),
        act("/portal/account/second-factor/confirm", Need::Person, "account.set_second_factor", factor::confirm),
        act("/portal/account/second-factor/remove", Need::Account, "account.remove_second_factor", factor::remove),
        page("/portal/account/notifications", Need::Account, notifications::mails),
        act("/portal/account/notifications", Need::Account, "account.set_notifications", notifications::set_mails),
        page("/portal/applications", Need::Account, applications::list),
        act("/portal/applications", Need::Account, "application.create", applications::create),
        page("/portal/applications/{id}", Need::Account, applications::show),
        act("/portal/applications/{id}/delete", Need::Account, "application.delete", applications::delete),
        page("/portal/applications/{id}/usage.json", Need::Account, usage::application_json),
        page("/portal/applications/{id}/usage.csv", Need::Account, usage::application_csv),
        act("/portal/applications/{id}/keys", Need::Account, "key.create", keys::create),
        page("/portal/keys/{id}", Need::Account, keys::show),
        page("/portal/keys/{id}/live", Need::Account, keys::live),
        page("/portal/keys/{id}/usage.json", Need::Account, usage::key_json),
        page("/portal/keys/{id}/usage.csv", Need::Account, usage::key_csv),
        act("/portal/keys/{id}/roll", Need::Account, "key.roll", keys::acts::roll),
        act("/portal/keys/{id}/end-overlap", Need::Account, "key.roll", keys::acts::end_overlap),
        act("/portal/keys/{id}/disable", Need::Account, "key.disable", keys::acts::disable),
        act("/portal/keys/{id}/enable", Need::Account, "key.enable", keys::acts::enable),
        act("/portal/keys/{id}/revoke", Need::Account, "key.revoke", keys::acts::revoke),
        page("/portal/requests", Need::Account, requests::list),
        page("/portal/requests/{request_id}", Need::Account, requests::show),
    ]
}

fn team_entries() -> Vec<Entry> {
    vec![
        page("/portal/teams/{team}", Need::Account, team::show),
        act("/portal/teams/{team}/invitations", Need::Account, "team.invite", team::invite),
        act("/portal/teams/{team}/invitations/{id}/withdraw", Need::Account, "team.withdraw_invitation", team::withdraw),
        act("/portal/teams/{team}/members/{account}/role", Need::Account, "team.set_role", team::set_role),
        act("/portal/teams/{team}/members/{account}/remove", Need::Account, "team.remove_member", team::remove),
        page("/portal/teams/{team}/notifications", Need::Account, notifications::show),
        act("/portal/teams/{team}/webhook", Need::Account, "webhook.set", notifications::set),
        act("/portal/teams/{team}/webhook/test", Need::Account, "webhook.test", notifications::test),
        act("/portal/teams/{team}/webhook/remove", Need::Account, "webhook.remove", notifications::remove),
        page("/console/regions", Need::Operator(Action::NodeRead), regions::show),
        page("/console/regions/live", Need::Operator(Action::NodeRead), regions::live),
        page("/portal/approvals", Need::Operator(Action::AccountDecide), approvals::list),
        decision("/portal/approvals/accounts/{id}/approve", Action::AccountDecide, approvals::approve_account),
        decision("/portal/approvals/accounts/{id}/refuse", Action::AccountDecide, approvals::refuse_account),
        decision("/portal/approvals/keys/{id}/approve", Action::KeyApprove, approvals::approve_key),
        decision("/portal/approvals/keys/{id}/refuse", Action::KeyRefuse, approvals::refuse_key),
    ]
}

/// All paths of the portal, each behind its gate.
pub(crate) fn paths(state: &ControlState) -> Router<ControlState> {
    let assets = Router::new().route("/portal/assets/{name}", get(assets::serve));
    table().into_iter().fold(assets, |paths, Entry { path, need, act, handler }| {
        let gate = Gate { state: state.clone(), need, act };
        paths.route(path, handler.route_layer(middleware::from_fn_with_state(gate, gate::gate)))
    })
}

#[cfg(test)]
mod tests;
