//! People who sign in to the portal in every way there is and have their programs told, and what is secret about it.

use anyhow::{Context as _, Result, ensure};
use data_encoding::{BASE32_NOPAD, BASE64, HEXLOWER};
use harness::client::{self, Version};
use harness::dev::{self, Dev, RegionReady};
use model::time::UtcMicros;
use model::totp::{TotpSecret, step_at};
use reqwest::header::{COOKIE, SET_COOKIE};
use serde_json::json;

use super::{Kind, Secret};
use crate::api::Api;

const PASSWORDS: [&str; 2] = ["Ferry7Leaves3At9Noon1Sharp", "Train5Leaves2At8Dawn4Sharp"];
/// Part of the address of a webhook, which may be a secret itself.
const HOOK_TOKEN: &str = "T0kenInTheAddress7Of4A2Webhook";

/// A person with a browser of their own.
pub(super) struct People {
    http: reqwest::Client,
    control: String,
    node_config: String,
    cookie: Option<String>,
    /// In every form in which they could lie somewhere, as far as they are of letters and digits.
    pub(super) secrets: Vec<Secret>,
}

impl People {
    pub(super) fn of(dev: &Dev) -> Result<Self> {
        let writer = dev.writer()?;
        let http = client::http(&dev.ready().ca, Version::Http1)?;
        let secrets = PASSWORDS.map(|text| (Kind::Password, text.to_owned())).to_vec();
        Ok(Self { http, control: writer.control.clone(), node_config: writer.node_config.display().to_string(), cookie: None, secrets })
    }

    /// Accepts an invitation, sets up a second factor, signs in with a recovery code, makes a token for their programs, and takes another password.
    pub(super) async fn sign_in(&mut self, api: &Api, region: &RegionReady) -> Result<()> {
        let code = self.invitation().await?;
        self.keep_run(Kind::Link, &code);
        self.post("/portal/invitation", &[("code", &code), ("name", "Boss"), ("password", PASSWORDS[0])]).await?;

        let page = self.get("/portal/account/second-factor").await?;
        let shown = between(&page, "The text for your app\">", "<")?.replace('-', "");
        let offer = between(&page, "name=\"offer\" value=\"", "\"")?;
        let bytes: [u8; 20] = BASE32_NOPAD.decode(shown.as_bytes())?.try_into().ok().context("another length of a secret")?;
        self.secrets.extend([shown.clone(), shown.to_lowercase(), HEXLOWER.encode(&bytes)].map(|text| (Kind::Totp, text)));
        let device = TotpSecret::new(bytes);
        let step = step_at(UtcMicros::from_datetime(time::OffsetDateTime::now_utc())).context("no time")?;
        let shown = String::from_utf8(device.code(step).to_vec())?;
        let page = self.post("/portal/account/second-factor/confirm", &[("offer", &offer), ("code", &shown)]).await?;
        let codes: Vec<String> = between(&page, "Recovery codes\">", "</pre>")?.lines().map(str::to_owned).collect();
        ensure!(codes.len() == 10, "{} recovery codes", codes.len());
        for code in &codes {
            let joined = code.replace('-', "");
            self.secrets.extend([joined.to_uppercase(), joined].map(|text| (Kind::Recovery, text)));
        }
        let [used, misused, ..] = codes.as_slice() else { anyhow::bail!("no codes") };
        self.cookie = None;
        self.post("/portal/sign-in", &[("email", "boss@example.com"), ("password", PASSWORDS[0]), ("next", "")]).await?;
        // Where people would type them if the form were not clear.
        for path in ["/portal/sign-in/code?code=", "/portal/reset?code=", "/portal/nothing/", "/portal/sign-in?next=/portal/"] {
            self.get(&format!("{path}{}", misused.replace('-', ""))).await?;
        }
        self.post("/portal/sign-in/code", &[("code", "000000"), ("next", misused)]).await?;
        self.post("/portal/sign-in/code", &[("code", used), ("next", "")]).await?;
        let page = self.get("/portal/account/second-factor").await?;
        ensure!(page.contains("9 of your recovery codes"), "the recovery code did not sign in");

        // A token for programs of their own: shown, used, and put where it does not belong.
        let page = self.post("/portal/account/tokens", &[("name", "program"), ("days", "30")]).await?;
        let token = between(&page, "The token\">", "<")?;
        self.keep_run(Kind::PersonalToken, &token);
        for path in [format!("/v1/my?token={token}"), format!("/v1/my/keys/{token}"), format!("/portal/keys/{}", token.replace('_', "%5F"))] {
            self.get(&path).await?;
        }
        let mine = self.http.get(format!("{}/v1/my", self.control)).bearer_auth(&token).header("user-agent", &token).send().await?;
        ensure!(mine.status() == 200, "a personal token was answered {}", mine.status());

        let listed = api.control(region, "/v1/accounts").await?.json();
        let items = listed.get("items").and_then(|items| items.as_array()).cloned().unwrap_or_default();
        let found = items.iter().find(|item| item.get("email").is_some_and(|email| email == "boss@example.com"));
        let id = found.and_then(|found| found.get("id")).and_then(|id| id.as_str()).context("no account")?.to_owned();
        let made = api.post_control(region, &format!("/v1/accounts/{id}/reset"), &json!({})).await?.json();
        let code = made.get("link").and_then(|link| link.as_str()).and_then(|link| link.split_once('#')).context("no link")?.1.to_owned();
        self.keep_run(Kind::Link, &code);
        self.post("/portal/reset", &[("code", &code), ("password", PASSWORDS[1])]).await?;
        Ok(())
    }

    /// Signs up, has the team's programs told by a webhook, and invites somebody, who does not come.
    pub(super) async fn have_told(&mut self) -> Result<()> {
        self.cookie = None;
        let fields = [("name", "Ann"), ("email", "ann@example.com"), ("organization", "Secretive"), ("password", PASSWORDS[0])];
        self.post("/portal/sign-up", &fields).await?;
        let team = between(&self.get("/portal/applications").await?, "name=\"team\" value=\"", "\"")?;
        for _ in 0..2 {
            let url = format!("https://hooks.example.com/{HOOK_TOKEN}?key={HOOK_TOKEN}");
            let page = self.post(&format!("/portal/teams/{team}/webhook"), &[("url", &url)]).await?;
            let shown = between(&page, "aria-label=\"The secret of the webhook\">", "<")?;
            let secret = shown.strip_prefix("whsec_").context("another form of a secret")?;
            self.secrets.push((Kind::Webhook, HEXLOWER.encode(&BASE64.decode(secret.as_bytes())?)));
            self.keep_run(Kind::Webhook, secret);
        }
        self.secrets.push((Kind::Webhook, HOOK_TOKEN.to_owned()));
        self.post(&format!("/portal/teams/{team}/webhook/test"), &[]).await?;
        for path in [format!("/portal/teams/{team}/notifications"), format!("/portal/teams/{team}")] {
            self.get(&path).await?;
        }
        let page = self.post(&format!("/portal/teams/{team}/invitations"), &[("email", "bob@example.com"), ("role", "viewer")]).await?;
        let code = between(&page, "/portal/invitation#", "<")?;
        self.keep_run(Kind::Link, &code);
        Ok(())
    }

    async fn invitation(&self) -> Result<String> {
        let arguments = ["admin", "invite", "--config", &self.node_config, "--email", "boss@example.com", "--role", "viewer"];
        let done = tokio::process::Command::new(dev::binary()?).args(arguments).output().await?;
        ensure!(done.status.success(), "no invitation: {}", String::from_utf8_lossy(&done.stderr));
        Ok(String::from_utf8(done.stdout)?.trim().split_once('#').context("no code")?.1.to_owned())
    }

    /// Remembers the longest part of a text that is of letters and digits: that is what is looked for.
    fn keep_run(&mut self, kind: Kind, text: &str) {
        self.secrets.extend(longest_run(text).map(|run| (kind, run)));
    }

    async fn get(&mut self, path: &str) -> Result<String> {
        self.send(self.http.get(format!("{}{path}", self.control))).await
    }

    async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Result<String> {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = self.http.post(format!("{}{path}", self.control)).header("content-type", "application/x-www-form-urlencoded");
        self.send(request.header("sec-fetch-site", "same-origin").body(body)).await
    }

    async fn send(&mut self, request: reqwest::RequestBuilder) -> Result<String> {
        let request = match &self.cookie {
            Some(cookie) => request.header(COOKIE, cookie),
            None => request,
        };
        let answer = request.send().await?;
        if let Some(set) = answer.headers().get(SET_COOKIE) {
            let pair = set.to_str()?.split_once(';').context("no cookie")?.0.to_owned();
            if let Some((_, id)) = pair.split_once('=') {
                self.keep_run(Kind::Session, id);
            }
            self.cookie = Some(pair);
        }
        Ok(answer.text().await?)
    }
}

/// The longest part of a text that is of letters and digits; `None` where it would be found by chance.
pub(super) fn longest_run(text: &str) -> Option<String> {
    let run = text.split(|character: char| !character.is_ascii_alphanumeric()).max_by_key(|run| run.len())?;
    (run.len() >= 10).then(|| run.to_owned())
}

fn between(text: &str, start: &str, end: &str) -> Result<String> {
    let (_, rest) = text.split_once(start).with_context(|| format!("no {start} on the page"))?;
    Ok(rest.split_once(end).context("no end")?.0.to_owned())
}
