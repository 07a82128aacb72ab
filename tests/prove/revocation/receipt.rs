//! What the control API says about a revocation; the one place that reads its JSON.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::history::revocation::{Receipt, Witness, WitnessState};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::Instant;

/// Whether there are receipts. Without them the claim judges by the answers alone, and its line says `receipts=none`.
pub(super) const GIVEN: bool = true;
/// How an operator asks for one.
pub(super) const WAIT: &str = "?wait=effective&timeout=10s";

/// How far apart the two clocks may be read.
const APART_MAX: Duration = Duration::from_micros(100);
/// How often they are read for that.
const LOOKS_MAX: u32 = 32;

/// The run's clock, which instants of this machine's other clock can be put on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    began: Instant,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self { began: Instant::now() }
    }

    /// Microseconds since the start.
    pub(super) fn at(self, instant: Instant) -> u64 {
        u64::try_from(instant.saturating_duration_since(self.began).as_micros()).unwrap_or(u64::MAX)
    }

    /// The same of an instant that another program has told. The clocks are compared now, so a step of the other one that lies between
    /// shows as a lie, and never hides one.
    fn told(self, instant: OffsetDateTime) -> u64 {
        let (mut wall, mut now) = (OffsetDateTime::now_utc(), Instant::now());
        // Between the two looks this thread may have to wait for a core, and what the other program has told would seem to differ by that.
        for _ in 0..LOOKS_MAX {
            let before = Instant::now();
            wall = OffsetDateTime::now_utc();
            now = Instant::now();
            if now - before < APART_MAX {
                break;
            }
        }
        let at = i128::from(self.at(now)) - (wall - instant).whole_microseconds();
        u64::try_from(at.max(0)).unwrap_or(u64::MAX)
    }
}

/// When the change was made, and the receipt when there is one, in the answer to a revocation.
///
/// # Errors
/// When the answer has another form.
pub(super) fn read(answer: &Value, clock: Clock, nodes: &[String]) -> Result<(u64, Option<Receipt>)> {
    let committed = instant(answer, "committed_at", clock)?.context("the answer does not say when it was committed")?;
    let receipt = answer.get("receipt").filter(|receipt| !receipt.is_null());
    Ok((committed, receipt.map(|receipt| one(receipt, clock, nodes)).transpose()?))
}

/// A receipt.
pub(super) fn one(receipt: &Value, clock: Clock, nodes: &[String]) -> Result<Receipt> {
    let witnesses = receipt.get("nodes").and_then(Value::as_array).context("the receipt names no nodes")?;
    Ok(Receipt {
        is_effective: receipt.get("is_effective").and_then(Value::as_bool).context("the receipt does not say whether it is effective")?,
        effective_us: instant(receipt, "effective_at", clock)?,
        elapsed_us: receipt.get("elapsed_ms").and_then(Value::as_u64).map(|ms| ms.saturating_mul(1_000)),
        fenced_us: instant(receipt, "fenced_at", clock)?.context("the receipt has no fence")?,
        witnesses: witnesses.iter().map(|witness| of_node(witness, clock, nodes)).collect::<Result<_>>()?,
    })
}

fn of_node(witness: &Value, clock: Clock, nodes: &[String]) -> Result<Witness> {
    let text = |name: &str| witness.get(name).and_then(Value::as_str).unwrap_or_default();
    let name = text("name");
    let state = match text("state") {
        "acknowledged" => WitnessState::Acknowledged,
        "fenced" => WitnessState::Fenced,
        "waiting" => WitnessState::Waiting,
        other => anyhow::bail!("the receipt says {other:?} of {name}"),
    };
    let number = nodes.iter().position(|node| node == name).unwrap_or(nodes.len());
    Ok(Witness { node: u16::try_from(number)?, state, acknowledged_us: instant(witness, "acknowledged_at", clock)? })
}

fn instant(of: &Value, name: &str, clock: Clock) -> Result<Option<u64>> {
    match of.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let text = value.as_str().unwrap_or_default();
            let instant = OffsetDateTime::parse(text, &Rfc3339);
            ensure!(instant.is_ok(), "{name} is {value}");
            Ok(instant.ok().map(|instant| clock.told(instant)))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn receipt_is_read_onto_the_clock_of_the_run() {
        let clock = Clock::start();
        let later = |ms: i64| (OffsetDateTime::now_utc() + time::Duration::milliseconds(ms)).format(&Rfc3339).unwrap();
        let nodes = ["a-1".to_owned(), "b-1".to_owned()];
        let answer = json!({
            "id": "x", "state": "revoked", "committed_at": later(1_000),
            "receipt": {
                "is_effective": true, "effective_at": later(1_200), "elapsed_ms": 200, "bound_ms": 2_000, "fenced_at": later(3_002),
                "allow_routes": "acknowledged",
                "nodes": [
                    { "name": "b-1", "region": "b", "state": "acknowledged", "acknowledged_at": later(1_150) },
                    { "name": "c-1", "region": "c", "state": "fenced", "acknowledged_at": null },
                ],
            },
        });

        let (committed, receipt) = read(&answer, clock, &nodes).unwrap();
        let receipt = receipt.unwrap();

        let is_near = |at: u64, ms: u64| at.abs_diff(ms * 1_000) < 500_000;
        assert!(is_near(committed, 1_000) && is_near(receipt.effective_us.unwrap(), 1_200) && is_near(receipt.fenced_us, 3_002));
        assert!(receipt.is_effective && receipt.elapsed_us == Some(200_000));
        let states: Vec<_> = receipt.witnesses.iter().map(|witness| (witness.node, witness.state, witness.acknowledged_us.is_some())).collect();
        assert_eq!(states, [(1, WitnessState::Acknowledged, true), (2, WitnessState::Fenced, false)]);
        assert!(read(&json!({ "committed_at": later(0), "receipt": {} }), clock, &nodes).is_err());
        assert_eq!(read(&json!({ "committed_at": later(0) }), clock, &nodes).unwrap().1, None);
    }
}
