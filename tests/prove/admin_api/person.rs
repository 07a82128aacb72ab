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
}

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
        let made = form(&http, control, "/portal/account/tokens", "name=fuzzer&days=7".to_owned()).header(header::COOKIE, cookie).send().await?;
        let page = String::from_utf8_lossy(&made.bytes().await?).into_owned();
        let shown = page.split_once("aria-label=\"The token\">").and_then(|(_, rest)| rest.split_once('<')).context("no token was made")?;
        let token = shown.0.to_owned();

        let me = json(http.get(format!("{control}/v1/my")).bearer_auth(&token)).await?;
        let team = me.pointer("/teams/0/name").and_then(Value::as_str).context("the person has no team")?.to_owned();
        let body = header::HeaderValue::from_static("application/json");
        json(http.post(format!("{control}/v1/my/applications")).bearer_auth(&token).header(header::CONTENT_TYPE, body).body(r#"{"name":"demo"}"#))
            .await?;
        Ok(Self { token, team })
    }
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
