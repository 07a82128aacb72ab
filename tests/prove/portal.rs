//! `portal`: a person who has never been here gets from the first page to the first answer of an API in under two minutes, in a real
//! browser; and no page on the way, nor any other of the portal, keeps anybody out: axe-core judges each of them in both schemes of colors,
//! on a desktop and on a phone.

mod journey;
mod pages;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::browser::{self, Browser};
use harness::dev::{self, Dev};

use self::journey::{Journey, Person};
use self::pages::Judge;
use crate::claim::{Claim, Context, Run, Verdict};

/// From the first page to the first answer.
const WITHIN: Duration = Duration::from_mins(2);

/// A quota over a day, in the plan first and then on the routes: what pages draw as a bar.
const QUOTA: [(&str, &str); 2] = [
    ("burst: { rate: 200/s, burst: 400 }", "burst: { rate: 200/s, burst: 400 }\n    daily: { rate: 100/d }"),
    ("limits: [ { name: burst, from: plan.burst } ]", "limits: [ { name: burst, from: plan.burst }, { name: daily, from: plan.daily } ]"),
];

/// The mutants: a page whose fields have no labels, and a key that is not the one that was shown.
const UNLABELED: &str = "unlabeled";
const OTHER_KEY: &str = "other-key";

pub(crate) const CLAIM: Claim = Claim {
    slug: "portal",
    promise: "a stranger gets from sign-up to a first 200 in under two minutes, and no page shuts anybody out (n: journeys and judged pages)",
    trials: 10,
    mutants: &[UNLABELED, OTHER_KEY],
    obstacle: browser::obstacle,
    run: |context, verdict| -> Run<'_> { Box::pin(run(context, verdict)) },
};

async fn run(context: &mut Context, verdict: &mut Verdict) -> Result<()> {
    let dev = Dev::start().await?;
    let control = dev.writer()?.control.clone();
    for (text, with) in QUOTA {
        change(&dev, text, with).await?;
    }
    let browser = Browser::start(&dev.ready().ca, &[address(&control)?]).await?;
    let mut judge = Judge::new(&browser, context.is_mutant(UNLABELED));
    let journey = Journey { browser: &browser, control: &control, other_key: context.is_mutant(OTHER_KEY) };

    let mut worst = Duration::ZERO;
    for number in 0..context.trials {
        let person = Person::new(number);
        // One journey shows every page; the others are made as quickly as they can be.
        let judge = (number == 0).then_some(&mut judge);
        let (took, status) = journey.first_answer(&person, judge).await.with_context(|| format!("journey {number}"))?;
        verdict.trial(status.starts_with("200") && took < WITHIN, || format!("journey {number}: {status} after {} s", took.as_secs()));
        worst = worst.max(took);
        journey.sign_out().await?;
    }
    journey.on_from_there(&Person::new(0), &mut judge).await?;
    change(&dev, "sign_up: open", "sign_up: approval, keys: approval").await?;
    journey.ask(&Person::new(0), &mut judge).await?;
    journey.as_operator(&invitation(&dev).await?, &mut judge).await?;

    let (judged, faults) = judge.verdict();
    let n = u64::try_from(judged).unwrap_or(0);
    verdict.trials_of(n, u64::try_from(faults.len()).unwrap_or(u64::MAX), || faults.join("\n"));
    verdict.figure("pages", judge.pages());
    verdict.figure("looks", judged);
    verdict.figure("worst_s", format!("{:.1}", worst.as_secs_f64()));
    drop(browser);
    dev.stop().await
}

fn address(control: &str) -> Result<std::net::SocketAddr> {
    control.strip_prefix("https://").context("no address")?.parse().context("no address")
}

/// Changes the gateway document and applies it.
async fn change(dev: &Dev, text: &str, with: &str) -> Result<()> {
    let writer = dev.writer()?;
    let folder = writer.node_config.parent().and_then(Path::parent).context("no folder of the deployment")?;
    let file = folder.join("gateway.yaml");
    let before = std::fs::read_to_string(&file)?;
    ensure!(before.contains(text), "the document has no {text:?}");
    std::fs::write(&file, before.replace(text, with))?;
    let mut command = tokio::process::Command::new(dev::binary()?);
    command.args(["apply", "-f"]).arg(&file).env("CAUSEWAY_CONTROL", &writer.control);
    let done = command.env("CAUSEWAY_TOKEN", &dev.ready().operator_token).env("CAUSEWAY_CA", &dev.ready().ca).output().await?;
    ensure!(done.status.success(), "it was not applied: {}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}

/// The link of an operator's invitation, as the command prints it.
async fn invitation(dev: &Dev) -> Result<String> {
    let config = dev.writer()?.node_config.display().to_string();
    let arguments = ["admin", "invite", "--config", &config, "--email", "boss@example.com", "--role", "admin"];
    let done = tokio::process::Command::new(dev::binary()?).args(arguments).output().await?;
    ensure!(done.status.success(), "no invitation: {}", String::from_utf8_lossy(&done.stderr));
    Ok(String::from_utf8(done.stdout)?.trim().to_owned())
}
