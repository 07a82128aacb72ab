//! `sign-in-timing`: how long a refused sign-in takes does not tell whether there is an account with that mail address, nor whether it has
//! a password.
//!
//! Sign-ins with wrong passwords, to accounts with a password, to accounts without one and to addresses that nobody has, come in an order
//! by chance. Each of the two known kinds is held against the unknown one, as in `key-timing`. A hash takes tens of milliseconds, so the
//! runs are short, and what they can see is told: `sees_us` is the delay that 49 of 50 runs would notice.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::client::{self, Version};
use harness::dev::Dev;
use harness::sql::Sql;
use tokio::time::Instant;

use crate::claim::{Claim, Context, Run, Verdict, no_obstacle};
use crate::timing::{Share, micros};

/// The fewest sign-ins of each kind.
const EACH_MIN: u64 = 100;
/// Sign-ins from one address: beyond twenty at once, the throttle turns it away.
const OF_ADDRESS: u64 = 15;
/// Sign-ins to one account: beyond a hundred at once, the throttle turns everybody away.
const OF_ACCOUNT: u64 = 80;
/// So far from one half the share may be beyond what chance explains.
const BIAS_MAX: f64 = 0.02;
/// The mutant: stored hashes take one pass more than the dummy.
const COSTLIER: &str = "costlier-hash";
const PASSWORD: &str = "the ferry leaves at noon";

pub(crate) const CLAIM: Claim = Claim {
    slug: "sign-in-timing",
    promise: "how long a refused sign-in takes tells neither who has an account nor whether it has a password (n: sign-ins of each kind)",
    trials: 150,
    mutants: &[COSTLIER],
    obstacle: no_obstacle,
    run: |context, verdict| -> Run<'_> { Box::pin(run(context, verdict)) },
};

/// What is there at a mail address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Password,
    NoPassword,
    Nobody,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Password, Self::NoPassword, Self::Nobody];

    /// All are of one length, so that forms and pages are, too.
    fn email(self, number: u64) -> String {
        let name = match self {
            Self::Password => "with",
            Self::NoPassword => "none",
            Self::Nobody => "nope",
        };
        format!("{name}-{number:03}@example.com")
    }
}

async fn run(context: &mut Context, verdict: &mut Verdict) -> Result<()> {
    let dev = Dev::start().await?;
    let n = context.trials.max(EACH_MIN);
    let accounts = (3 * n).div_ceil(OF_ACCOUNT).max(2);
    known(&dev, accounts, context.is_mutant(COSTLIER)).await?;

    let mut took: [Vec<Duration>; 3] = Default::default();
    let (mut odd, mut turn) = (0_u64, 0_u64);
    let mut people = Browser::at(&dev, 0).await?;
    while took.iter().any(|times| (times.len() as u64) < n) {
        turn += 1;
        if turn.is_multiple_of(OF_ADDRESS) {
            people = Browser::at(&dev, turn / OF_ADDRESS).await?;
        }
        let at = usize::try_from(context.random.below(3))?;
        let (Some(kind), Some(times)) = (Kind::ALL.get(at), took.get_mut(at)) else { continue };
        // The addresses take turns, because each has a bound of its own.
        let email = kind.email(turn % accounts);
        let began = Instant::now();
        let status = people.sign_in(&email).await?;
        let lasted = began.elapsed();
        odd += u64::from(status != 422);
        times.push(lasted);
    }
    verdict.trials_of(took.iter().map(|times| times.len() as u64).sum(), odd, || format!("{odd} wrong sign-ins were not answered 422"));
    let [with, without, nobody] = &took;
    let (mut sees, mut allowed_most) = (Duration::ZERO, 0.0_f64);
    for (figure, what, times) in [("slower_with", "with a password", with), ("slower_without", "without a password", without)] {
        let compared = Share::of(times, nobody, BIAS_MAX);
        let Share { slower, allowed, .. } = compared;
        (sees, allowed_most) = (sees.max(compared.sees(nobody)), allowed_most.max(allowed));
        verdict.trial(compared.is_even(), || {
            format!("an account {what} is the slower one in {slower:.4} of all pairs; 0.5 would be right, and {allowed:.4} more or less is chance")
        });
        verdict.figure(figure, format!("{slower:.4}"));
    }
    verdict.figure("allowed", format!("{allowed_most:.4}"));
    verdict.figure("sees_us", sees.as_micros());
    for (figure, times) in [("with_p50_us", with), ("without_p50_us", without), ("nobody_p50_us", nobody)] {
        verdict.figure(figure, micros(times));
    }
    dev.stop().await
}

/// Makes the accounts.
async fn known(dev: &Dev, accounts: u64, are_costlier: bool) -> Result<()> {
    for number in 0..accounts {
        let people = Browser::at(dev, 10_000 + number / 8).await?;
        for kind in [Kind::Password, Kind::NoPassword] {
            let email = kind.email(number);
            let fields = [("name", "Ann"), ("email", &email), ("organization", &email), ("password", PASSWORD)];
            let (status, text) = people.post("/portal/sign-up", &fields).await?;
            ensure!(status == 303, "{email} could not sign up: {status} {text}");
        }
    }
    let sql = Sql::open(dev.writer()?.postgres_port, &dev.reader()?.postgres_data_dir)?;
    sql.ask("causeway", "update account set password = null where email like 'none-%'").await?;
    if are_costlier {
        let changed = "update account set password = replace(password, ',t=2,', ',t=3,') where email like 'with-%' returning password";
        let changed = sql.ask("causeway", changed).await?;
        ensure!(changed.iter().all(|hash| hash.contains(",t=3,")), "the hashes have another form: {}", changed.len());
    }
    Ok(())
}

/// Somebody at an address of their own, with a connection that is open.
struct Browser {
    http: reqwest::Client,
    control: String,
}

impl Browser {
    async fn at(dev: &Dev, number: u64) -> Result<Self> {
        let [.., high, low] = number.to_be_bytes();
        let address = IpAddr::V4(Ipv4Addr::new(127, 78, high, low));
        let http = client::http_from(&dev.ready().ca, Version::Http1, Some(address))?;
        let browser = Self { http, control: dev.writer()?.control.clone() };
        let page = browser.http.get(format!("{}/portal/sign-in", browser.control)).send().await?;
        ensure!(page.status() == 200, "the page was answered {}", page.status());
        page.bytes().await.context("the page broke off")?;
        Ok(browser)
    }

    async fn sign_in(&self, email: &str) -> Result<u16> {
        Ok(self.post("/portal/sign-in", &[("email", email), ("password", "not the right sentence"), ("next", "")]).await?.0)
    }

    async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Result<(u16, String)> {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = self.http.post(format!("{}{path}", self.control)).header("content-type", "application/x-www-form-urlencoded");
        let answer = request.header("sec-fetch-site", "same-origin").body(body).send().await?;
        Ok((answer.status().as_u16(), answer.text().await?))
    }
}
