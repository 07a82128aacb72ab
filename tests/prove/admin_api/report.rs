//! What the fuzzer reports: a summary, and an event for each step.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use serde_json::Value;

/// What is shown of many findings.
const SHOWN_FINDINGS: usize = 20;
/// Of a request, in characters.
const SHOWN_CHARS: usize = 300;

/// What one run or several have shown.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// Requests that were answered.
    pub(super) sent: u64,
    /// Those answered with 2xx.
    pub(super) accepted: u64,
    /// Operations that were asked, as `GET /v1/keys`.
    pub(super) tried: BTreeSet<String>,
    /// Those of them that did what they are for.
    pub(super) done: BTreeSet<String>,
    /// It came to its end.
    pub(super) is_complete: bool,
    /// What was found, a sentence each.
    findings: Vec<String>,
}

impl Report {
    /// Reads both.
    pub(super) fn read(summary: &str, events: &str) -> Result<Self> {
        let summary: Value = serde_json::from_str(summary).context("the summary is no JSON")?;
        let errors = summary.get("errors").and_then(Value::as_array).is_some_and(|errors| !errors.is_empty());
        let is_complete = summary.get("complete") == Some(&Value::Bool(true)) && !errors;
        let mut report = Self { is_complete, ..Self::default() };
        for line in events.lines() {
            let event: Value = serde_json::from_str(line).context("an event is no JSON")?;
            if let Some(recorder) = event.pointer("/ScenarioFinished/recorder") {
                report.scenario(recorder);
            }
        }
        let told = |failure: &Value| failure.get("count").and_then(Value::as_u64).unwrap_or(1);
        let counted: u64 = summary.get("failures").and_then(Value::as_array).into_iter().flatten().map(told).sum();
        if counted > 0 && report.findings.is_empty() {
            report.findings.push(format!("{counted} failures that no event tells of"));
        }
        Ok(report)
    }

    /// Adds another run.
    pub(super) fn join(&mut self, other: Self) {
        self.sent += other.sent;
        self.accepted += other.accepted;
        self.tried.extend(other.tried);
        self.done.extend(other.done);
        self.findings.extend(other.findings);
    }

    /// How many findings there are.
    pub(super) fn failures(&self) -> u64 {
        self.findings.len() as u64
    }

    /// The first of them, a line each.
    pub(super) fn sentences(&self) -> String {
        self.findings.iter().take(SHOWN_FINDINGS).map(String::as_str).collect::<Vec<_>>().join("\n    ")
    }

    fn scenario(&mut self, recorder: &Value) {
        let interactions = recorder.get("interactions").and_then(Value::as_object);
        for (id, interaction) in interactions.into_iter().flatten() {
            let case = recorder.pointer(&format!("/cases/{id}/value")).unwrap_or(&Value::Null);
            let word = |name: &str| case.get(name).and_then(Value::as_str).unwrap_or_default();
            let label = format!("{} {}", word("method"), word("path"));
            let status = interaction.pointer("/response/status_code").and_then(Value::as_u64).unwrap_or(0);
            let is_accepted = (200..300).contains(&status);
            self.sent += 1;
            self.accepted += u64::from(is_accepted);
            if is_accepted {
                self.done.insert(label.clone());
            }
            for check in recorder.pointer(&format!("/checks/{id}")).and_then(Value::as_array).into_iter().flatten() {
                if check.get("status").and_then(Value::as_str) == Some("failure") {
                    self.findings.push(format!("{label} answered {status}: {}; {}", told(check), request(case)));
                }
            }
            self.tried.insert(label);
        }
    }
}

/// What a failed check says.
fn told(check: &Value) -> String {
    let name = check.get("name").and_then(Value::as_str).unwrap_or("a check");
    let title = check.pointer("/failure_info/failure/title").and_then(Value::as_str).unwrap_or_default();
    let message = check.pointer("/failure_info/failure/message").and_then(Value::as_str).unwrap_or_default();
    [name, title, message].join("; ").replace('\n', " ")
}

/// What was sent, as far as it tells something.
fn request(case: &Value) -> String {
    let parts = ["path_parameters", "query", "body"].into_iter().filter_map(|part| Some(format!("{part} {}", case.get(part)?)));
    parts.collect::<Vec<_>>().join(", ").chars().take(SHOWN_CHARS).collect()
}
