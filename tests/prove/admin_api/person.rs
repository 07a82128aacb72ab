//! Somebody with an account, a team, an application and a token of their own.

use anyhow::{Context as _, Result, ensure};
use harness::client::{self, Version};
use harness::dev::Dev;
use reqwest::{Client, RequestBuilder, header};
use serde_json::Value;

use super::PASSWORD;

/// What the fuzzer knows of a person.
#[derive(Debug)]
pub(super) struct Person {
    pub(super) token: String,
    pub(super) team: String,
    pub(super) account: String,
    /// Ids of keys, and of a token: an act on one may end it.
    pub(super) keys: Vec<String>,
}

/// Keys that the person has.
const KEYS: usize = 8;

impl Person {
    /// Lets one in of those who asked, who signs in and makes a token.
    pub(super) async fn with_token(dev: &Dev) -> Result<Self> {
        let http = client::http(&dev.ready().ca, Version::Http1)?;
        let control = dev.writer()?.control.as_str();
        let operator = dev.ready().operator_token.as_str();
        let page = json(http.get(format!("{control}/v1/accounts?state=pending")).bearer_auth(operator)).await?;
        let account = page.pointer("/items/0").context("nobody asked for an account")?;
        let member = |name: &str| account.get(name).and_then(Value::as_str).with_context(|| format!("no {name}"));
        let (id, email) = (member("id")?, member("email")?.replace('@', "%40"));
        json(http.post(format!("{control}/v1/accounts/{id}/approve")).bearer_auth(operator)).await?;

        let entered = form(&http, control, "/portal/sign-in", format!("email={email}&password={PASSWORD}")).send().await?;
        let set = entered.headers().get(header::SET_COOKIE).and_then(|value| value.to_str().ok()).context("nobody signed in")?;
        let cookie = set.split(';').next().unwrap_or_default().to_owned();
        let token = token(&http, control, &cookie).await?;
        // One that may be revoked.
        let spare = token_id(&self::token(&http, control, &cookie).await?)?;

        let me = json(http.get(format!("{control}/v1/my")).bearer_auth(&token)).await?;
        let team = me.pointer("/teams/0/name").and_then(Value::as_str).context("the person has no team")?.to_owned();
        let post = |path: &str, body: String| {
            let request = http.post(format!("{control}{path}")).bearer_auth(&token);
            json(request.header(header::CONTENT_TYPE, "application/json").body(body))
        };
        post("/v1/my/applications", r#"{"name":"demo"}"#.to_owned()).await?;
        let mut keys = vec![spare];
        for n in 0..KEYS {
            let made = post("/v1/my/keys", format!(r#"{{"name":"key {n}","application":"{team}_demo"}}"#)).await?;
            keys.push(made.get("id").and_then(Value::as_str).context("a key without an id")?.to_owned());
        }
        Ok(Self { account: id.to_owned(), token, team, keys })
    }
}

/// Makes a token on its page.
async fn token(http: &Client, control: &str, cookie: &str) -> Result<String> {
    let made = form(http, control, "/portal/account/tokens", "name=fuzzer&days=7".to_owned()).header(header::COOKIE, cookie).send().await?;
    let page = String::from_utf8_lossy(&made.bytes().await?).into_owned();
    let shown = page.split_once("aria-label=\"The token\">").and_then(|(_, rest)| rest.split_once('<')).context("no token was made")?;
    Ok(shown.0.to_owned())
}

/// The public id of a token.
fn token_id(text: &str) -> Result<String> {
    text.split('_').nth(2).map(str::to_owned).context("a token without an id")
}

fn form(http: &Client, control: &str, path: &str, fields: String) -> RequestBuilder {
    let request = http.post(format!("{control}{path}")).header("sec-fetch-site", "same-origin");
    request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(fields)
}

async fn json(request: RequestBuilder) -> Result<Value> {
    let answer = request.send().await?;
    let (status, bytes) = (answer.status(), answer.bytes().await?);
    ensure!(status.is_success(), "it was answered {status}: {}", String::from_utf8_lossy(&bytes));
    Ok(serde_json::from_slice(&bytes)?)
}
