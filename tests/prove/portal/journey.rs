//! What people do in the portal, click by click.

use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use data_encoding::BASE32_NOPAD;
use harness::browser::{Browser, Key};
use harness::wait;
use model::time::UtcMicros;
use model::totp::{TotpSecret, step_at};
use serde_json::Value;
use tokio::time::Instant;

use super::pages::Judge;

const PASSWORD: &str = "the ferry leaves at noon";

/// Somebody who has never been here.
pub(super) struct Person {
    email: String,
    team: String,
}

impl Person {
    pub(super) fn new(number: u64) -> Self {
        Self { email: format!("ann{number}@example.com"), team: format!("Bell & Sons {number}") }
    }
}

pub(super) struct Journey<'b> {
    pub(super) browser: &'b Browser,
    pub(super) control: &'b str,
    /// Sends another key than the one that was shown.
    pub(super) other_key: bool,
}

async fn look(judge: &mut Option<&mut Judge<'_>>, page: &'static str) -> Result<()> {
    match judge {
        Some(judge) => judge.look(page).await,
        None => Ok(()),
    }
}

/// What an app shows, so many steps from now.
fn code(device: &TotpSecret, steps: u64) -> Result<String> {
    let now = UtcMicros::from_datetime(time::OffsetDateTime::now_utc());
    Ok(String::from_utf8(device.code(step_at(now).ok_or_else(|| anyhow!("no time"))? + steps).to_vec())?)
}

impl Journey<'_> {
    async fn open(&self, path: &str) -> Result<()> {
        self.browser.goto(&format!("{}{path}", self.control)).await
    }

    /// From the first page to the first answer: how long it took, without the looks of the judge, and the answer's status.
    pub(super) async fn first_answer(&self, person: &Person, mut judge: Option<&mut Judge<'_>>) -> Result<(Duration, String)> {
        let browser = self.browser;
        let mut took = Duration::ZERO;
        let mut began = Instant::now();
        macro_rules! look {
            ($page:literal) => {
                took += began.elapsed();
                look(&mut judge, $page).await?;
                began = Instant::now();
            };
        }
        self.open("/portal/").await?;
        look!("home");
        browser.click(".cards a").await?;
        browser.wait_for("table").await?;
        look!("API");
        browser.click("a[href='/portal/sign-up']").await?;
        browser.wait_for("#organization").await?;
        look!("sign up");
        browser.fill("#name", "Ann Bell").await?;
        browser.fill("#email", &person.email).await?;
        browser.fill("#organization", &person.team).await?;
        browser.fill("#password", PASSWORD).await?;
        browser.click("#submit").await?;
        browser.wait_for("#create").await?;
        look!("applications");
        browser.fill("#name", "shop").await?;
        browser.click("#create").await?;
        browser.wait_for("#create-key").await?;
        look!("new application");
        browser.fill("#name", "laptop").await?;
        browser.click("#create-key").await?;
        browser.wait_for("#secret").await?;
        look!("secret");
        if self.other_key {
            browser.script("const f = document.querySelector('input[name=key]'); f.value = f.value.replace(/.{9}$/, 'AAAAAAAAA')", &[]).await?;
        }
        browser.click("#try").await?;
        let status = browser.text("#answer-status").await?;
        look!("answer");
        Ok((took + began.elapsed(), status))
    }

    pub(super) async fn sign_out(&self) -> Result<()> {
        self.browser.click("form[action='/portal/sign-out'] button").await?;
        self.browser.wait_for("form[action='/portal/sign-in']").await
    }

    /// Signs in with the keyboard alone.
    async fn sign_in(&self, person: &Person) -> Result<()> {
        self.open("/portal/sign-in").await?;
        self.browser.script("document.getElementById('email').focus()", &[]).await?;
        self.browser.write(&person.email).await?;
        self.browser.press(&[Key::Tab]).await?;
        self.browser.write(PASSWORD).await?;
        self.browser.press(&[Key::Enter]).await?;
        self.browser.wait_for("#create").await
    }

    /// Every other page of a developer, with the key's life to its end.
    pub(super) async fn on_from_there(&self, person: &Person, judge: &mut Judge<'_>) -> Result<()> {
        let browser = self.browser;
        self.open("/portal/sign-in").await?;
        judge.look("sign in").await?;
        self.sign_in(person).await?;
        browser.click("main table a").await?;
        browser.wait_for(".uplot").await?;
        judge.look("application").await?;
        browser.click("main table a").await?;
        browser.wait_for("#roll").await?;
        self.usage(judge).await?;
        browser.click("#roll").await?;
        browser.wait_for("#secret").await?;
        judge.look("rolled secret").await?;
        browser.click("#stored").await?;
        browser.wait_for("#old-requests").await?;
        judge.look("rolling key").await?;
        browser.fill("#confirm", "another name").await?;
        browser.click("#revoke").await?;
        browser.wait_for("#revoke-mistake").await?;
        judge.look("refused form").await?;
        browser.fill("#confirm", "laptop").await?;
        browser.click("input[name=leaked]").await?;
        browser.click("#revoke").await?;
        // The page renews itself until every region knows.
        browser.wait_for(".tick").await?;
        ensure!(browser.text("#status").await? == "leaked", "the key is not revoked as leaked");
        for (path, page) in [("", "leaked key"), ("/portal/", "leak on the first page")] {
            if !path.is_empty() {
                self.open(path).await?;
            }
            browser.wait_for("p.mistakes[role=alert]").await?;
            judge.look(page).await?;
        }
        browser.click("p.mistakes a[href^='/portal/keys/']").await?;
        browser.click(".crumbs a").await?;
        browser.wait_for("p.mistakes[role=alert] a[href^='/portal/keys/']").await?;
        judge.look("leak of an application").await?;
        self.records_and_team(judge).await
    }

    /// The key's page once its use is counted: figures, chart, table and the bar of the quota.
    async fn usage(&self, judge: &mut Judge<'_>) -> Result<()> {
        let browser = self.browser;
        // The first key of a deployment with other documents may come before the node has read the one with the quota.
        let counted = "const used = document.querySelector('[data-total=requests]'), bar = document.querySelector('meter'); \
                       return used !== null && used.textContent !== '0' && bar !== null && bar.value > 0";
        let page = browser.url().await?;
        wait::until("the use of the key", Duration::from_secs(20), async || {
            browser.goto(&page).await.is_ok() && browser.script(counted, &[]).await.is_ok_and(|counted| counted == Value::Bool(true))
        })
        .await?;
        browser.wait_for(".uplot").await?;
        browser.script("document.querySelector('details').open = true", &[]).await?;
        judge.look("key with usage and quota").await?;
        let shown =
            "const row = document.querySelector('[data-usage-rows] tr'); return row.cells.length === 5 && row.cells[3].textContent !== '\u{2013}'";
        ensure!(browser.script(shown, &[]).await? == Value::Bool(true), "the table has no p50");
        Ok(())
    }

    /// Requests, the team with somebody invited, and what remains.
    async fn records_and_team(&self, judge: &mut Judge<'_>) -> Result<()> {
        let browser = self.browser;
        // A record is there some seconds after its answer.
        wait::until("the record of the call", Duration::from_secs(20), async || {
            let found = "return document.querySelector('main table tbody tr') !== null";
            self.open("/portal/requests").await.is_ok() && browser.script(found, &[]).await.is_ok_and(|found| found == Value::Bool(true))
        })
        .await?;
        judge.look("requests").await?;
        browser.click("main table tbody tr:first-child td:last-child a").await?;
        browser.wait_for("dl").await?;
        judge.look("request").await?;
        browser.click("a[href^='/portal/teams/']").await?;
        browser.wait_for("#invite").await?;
        judge.look("team").await?;
        browser.fill("#email", "bob@example.com").await?;
        browser.click("#invite").await?;
        browser.wait_for("#link").await?;
        judge.look("invitation made").await?;
        let team = browser.url().await?.replace("/invitations", "");
        browser.goto(&team).await?;
        browser.wait_for("form[action$='/withdraw']").await?;
        judge.look("open invitation").await?;
        browser.click("a[href$='/notifications']").await?;
        browser.wait_for("#save").await?;
        judge.look("notifications").await?;
        browser.fill("#url", "https://hooks.example.com/causeway").await?;
        browser.click("#save").await?;
        browser.wait_for("#secret").await?;
        judge.look("webhook made").await?;
        browser.click("#test").await?;
        browser.wait_for("main table tbody tr").await?;
        judge.look("delivery").await?;
        for (path, page) in [
            ("/portal/account", "account"),
            ("/portal/account/notifications", "mails"),
            ("/portal/account/tokens", "tokens"),
            ("/portal/account/second-factor", "no second factor"),
            ("/portal/problems", "problems"),
            ("/portal/problems/credentials-invalid", "problem"),
            ("/portal/apis/demo/createItem", "operation"),
            ("/portal/nothing", "missing page"),
            ("/portal/approvals", "forbidden page"),
        ] {
            self.open(path).await?;
            judge.look(page).await?;
        }
        self.open("/portal/account/tokens").await?;
        browser.fill("#name", "pipeline").await?;
        browser.click("#make").await?;
        browser.wait_for("#token").await?;
        judge.look("token shown").await?;
        self.sign_out().await
    }

    /// Once the API's owner approves accounts and keys: somebody asks for each.
    pub(super) async fn ask(&self, person: &Person, judge: &mut Judge<'_>) -> Result<()> {
        let browser = self.browser;
        self.sign_in(person).await?;
        browser.click("main table a").await?;
        browser.wait_for("#create-key").await?;
        let page = browser.url().await?;
        wait::until("the node with the new document", Duration::from_secs(20), async || {
            browser.goto(&page).await.is_ok() && browser.text("#create-key").await.is_ok_and(|text| text.contains("Ask"))
        })
        .await?;
        browser.fill("#name", "server").await?;
        browser.click("#create-key").await?;
        browser.wait_for("#waits").await?;
        judge.look("key asked for").await?;
        browser.click("#stored").await?;
        browser.wait_for("#status").await?;
        judge.look("key that waits").await?;
        self.sign_out().await?;
        self.open("/portal/sign-up").await?;
        browser.fill("#name", "Cy Young").await?;
        browser.fill("#email", "cy@example.com").await?;
        browser.fill("#organization", "Young").await?;
        browser.fill("#password", PASSWORD).await?;
        browser.click("#submit").await?;
        browser.wait_for("main a[href='/portal/sign-in']").await?;
        judge.look("account asked for").await
    }

    /// An operator accepts an invitation and sees what waits.
    pub(super) async fn as_operator(&self, link: &str, judge: &mut Judge<'_>) -> Result<()> {
        self.browser.goto(link).await?;
        self.browser.wait_for("#code").await?;
        judge.look("invitation").await?;
        self.browser.fill("#name", "The boss").await?;
        self.browser.fill("#password", PASSWORD).await?;
        self.browser.click("#submit").await?;
        let device = self.enroll(judge).await?;
        self.browser.wait_for("a[href='/portal/approvals']").await?;
        self.browser.click("a[href='/portal/approvals']").await?;
        // An account and a key wait.
        self.browser.wait_for("form[action^='/portal/approvals/accounts/']").await?;
        self.browser.wait_for("form[action^='/portal/approvals/keys/'][action$='/refuse']").await?;
        judge.look("approvals").await?;
        self.browser.fill("input[name=reason]", "the plan is for tests").await?;
        self.browser.click("form[action^='/portal/approvals/keys/'][action$='/refuse'] button").await?;
        self.browser.wait_for("p.done").await?;
        judge.look("key refused").await?;
        self.browser.click("a[href='/console/regions']").await?;
        self.browser.wait_for("#node-eu-west-1 .badge").await?;
        judge.look("regions").await?;
        let shown = self.browser.text("#seen-at").await?;
        wait::until("the page of regions to keep itself up to date", Duration::from_secs(20), async || {
            self.browser.text("#seen-at").await.is_ok_and(|now| now != shown)
        })
        .await?;
        self.open("/portal/account/second-factor").await?;
        self.browser.wait_for("#remove").await?;
        judge.look("second factor").await?;
        self.sign_out().await?;
        self.browser.fill("#email", "boss@example.com").await?;
        self.browser.fill("#password", PASSWORD).await?;
        self.browser.press(&[Key::Enter]).await?;
        self.browser.wait_for("#code").await?;
        judge.look("code").await?;
        // The code of the setting up counts no second time.
        self.browser.fill("#code", &code(&device, 1)?).await?;
        self.browser.press(&[Key::Enter]).await?;
        self.browser.wait_for("a[href='/portal/approvals']").await?;
        self.open("/portal/reset").await?;
        self.browser.wait_for("#code").await?;
        judge.look("reset").await
    }

    /// Sets up a second factor with what the page shows.
    async fn enroll(&self, judge: &mut Judge<'_>) -> Result<TotpSecret> {
        self.browser.wait_for("svg.qr").await?;
        judge.look("second factor offered").await?;
        let text = self.browser.text("#factor-secret").await?.replace('-', "");
        let bytes = BASE32_NOPAD.decode(text.trim().as_bytes())?;
        let device = TotpSecret::new(bytes.try_into().map_err(|_| anyhow!("another length of a secret"))?);
        self.browser.fill("#code", &code(&device, 0)?).await?;
        self.browser.click("#confirm").await?;
        self.browser.wait_for("#recovery").await?;
        judge.look("recovery codes").await?;
        self.browser.click("#stored").await?;
        Ok(device)
    }
}
