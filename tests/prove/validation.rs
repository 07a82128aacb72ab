//! `validation`: a body that the document forbids is refused with a pointer to the fault, and never reaches the service.

use std::time::Duration;

use anyhow::{Context as _, Result};
use harness::dev::{Dev, RegionReady};
use harness::wait;
use serde_json::{Value, json};

use crate::api::{Answer, Api};
use crate::claim::{Claim, Context, Run, Verdict, no_obstacle};

const ITEMS: &str = "/demo/v1/items";
const JSON: &str = "application/json";

pub(crate) const CLAIM: Claim = Claim {
    slug: "validation",
    promise: "a body that the API's document forbids is 422 with a pointer, and a lawful one arrives",
    trials: 10,
    mutants: &[],
    obstacle: no_obstacle,
    run: |context, verdict| -> Run<'_> { Box::pin(run(context, verdict)) },
};

/// A body that must be refused.
struct Bad {
    body: String,
    content_type: &'static str,
    status: u16,
    /// One of the errors must point here; none is asked for when it is empty.
    pointers: &'static [&'static str],
}

fn bad(body: impl Into<String>, status: u16, pointers: &'static [&'static str]) -> Bad {
    Bad { body: body.into(), content_type: JSON, status, pointers }
}

fn forbidden() -> Vec<Bad> {
    let long = "x".repeat(81);
    vec![
        bad(r#"{"name":"a","quantity":-1}"#, 422, &["/quantity"]),
        bad(r#"{"name":"a","quantity":1.5}"#, 422, &["/quantity"]),
        bad(r#"{"name":"a","quantity":"1"}"#, 422, &["/quantity"]),
        bad(r#"{"name":"","quantity":1}"#, 422, &["/name"]),
        bad(format!(r#"{{"name":"{long}","quantity":1}}"#), 422, &["/name"]),
        bad(r#"{"name":7,"quantity":1}"#, 422, &["/name"]),
        bad(r#"{"quantity":1}"#, 422, &["", "/name"]),
        bad(r#"{"name":"a"}"#, 422, &["", "/quantity"]),
        bad(r#"{"name":"a","quantity":1,"extra":true}"#, 422, &["", "/extra"]),
        bad("[]", 422, &[""]),
        bad("null", 422, &[""]),
        bad(r#"{"name":"a","quantity":1"#, 422, &[]),
        bad("", 422, &[]),
        Bad { body: "name=a".into(), content_type: "application/x-www-form-urlencoded", status: 415, pointers: &[] },
    ]
}

async fn run(context: &mut Context, verdict: &mut Verdict) -> Result<()> {
    let dev = Dev::start().await?;
    let api = Api::of(dev.ready())?;
    let count_before = count(&api, dev.writer()?).await?;
    let mut made = 0;
    for trial in 0..context.trials {
        for region in &dev.ready().regions {
            for case in forbidden() {
                refuse(&api, verdict, region, &case).await?;
            }
            made += u64::from(accept(&api, verdict, region, trial).await?);
        }
    }
    // What was refused has not arrived: the service holds the lawful items alone.
    let count_after = count(&api, dev.writer()?).await?;
    verdict.trial(count_after == count_before + made || count_after >= 200, || {
        format!("the service has {count_after} items, and {count_before} + {made} were lawful")
    });
    verdict.figure("lawful", made);
    dev.stop().await
}

async fn refuse(api: &Api, verdict: &mut Verdict, region: &RegionReady, case: &Bad) -> Result<()> {
    let answer = api.post(region, ITEMS, api.first_key(), case.content_type, &case.body).await?;
    let pointers = pointers(&answer);
    let pointed = case.pointers.is_empty() || case.pointers.iter().any(|wanted| pointers.iter().any(|found| found == wanted));
    let problem = answer.header("content-type").is_some_and(|value| value.starts_with("application/problem+json"));
    let lawful_status = answer.status == case.status || (case.pointers.is_empty() && answer.status == 400);
    verdict.trial(lawful_status && problem && pointed, || {
        format!("{} answered {:?} with {} and pointers {pointers:?}", region.name, case.body, answer.summary())
    });
    Ok(())
}

/// Whether a lawful item was made; it must then be readable in both regions.
async fn accept(api: &Api, verdict: &mut Verdict, region: &RegionReady, trial: u64) -> Result<bool> {
    let name = format!("lawful {trial} {}", region.name);
    let body = json!({ "name": name, "quantity": trial }).to_string();
    let answer = api.post(region, ITEMS, api.first_key(), JSON, &body).await?;
    let id = answer.json().get("id").map(|id| id.as_str().map_or_else(|| id.to_string(), str::to_owned));
    verdict.trial(answer.status == 201 && id.is_some(), || format!("{} answered a lawful body with {}", region.name, answer.summary()));
    let Some(id) = id.filter(|_| answer.status == 201) else {
        return Ok(false);
    };
    let path = format!("{ITEMS}/{id}");
    let read = wait::until("the item", Duration::from_secs(5), async || {
        let answer = api.get(region, &path, api.first_key()).await;
        answer.is_ok_and(|answer| answer.status == 200 && answer.json().get("name").and_then(Value::as_str) == Some(&name))
    })
    .await;
    verdict.trial(read.is_ok(), || format!("{} does not show item {id}", region.name));
    Ok(true)
}

fn pointers(answer: &Answer) -> Vec<String> {
    let json = answer.json();
    let errors = json.get("errors").and_then(Value::as_array).cloned().unwrap_or_default();
    errors.iter().filter_map(|error| Some(error.get("pointer")?.as_str()?.to_owned())).collect()
}

async fn count(api: &Api, region: &RegionReady) -> Result<u64> {
    let answer = api.get(region, &format!("{ITEMS}?limit=200"), api.first_key()).await?;
    let json = answer.json();
    let items = json.get("items").unwrap_or(&json).as_array().with_context(|| format!("no list of items: {}", answer.summary()))?;
    Ok(items.len() as u64)
}
