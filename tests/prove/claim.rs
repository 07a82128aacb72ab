//! What a claim is, and how its trials are counted.

use std::future::Future;
use std::pin::Pin;

use anyhow::Result;
use harness::seed::Random;

/// Sentences printed of one run; the rest is counted.
const SENTENCES_MAX: u64 = 20;

/// A run under way.
pub(crate) type Run<'a> = Pin<Box<dyn Future<Output = Result<()>> + 'a>>;

/// A promise that can be counted.
pub(crate) struct Claim {
    /// Its name on the command line and in its line.
    pub(crate) slug: &'static str,
    /// The promise, as a sentence.
    pub(crate) promise: &'static str,
    /// Trials when `--n` is not given.
    pub(crate) trials: u64,
    /// What must make it fail.
    pub(crate) mutants: &'static [&'static str],
    /// Why it cannot be run here, if it cannot.
    pub(crate) obstacle: fn() -> Option<String>,
    /// Runs it.
    pub(crate) run: for<'a> fn(&'a mut Context, &'a mut Verdict) -> Run<'a>,
}

/// What a run is given.
pub(crate) struct Context {
    pub(crate) trials: u64,
    /// The number of the first generated input.
    pub(crate) from: u64,
    /// How long a soak lasts.
    pub(crate) seconds: u64,
    /// Regions of the deployment, where a claim's can have more than two; the claim's own number when absent.
    pub(crate) regions: Option<u32>,
    /// Where to write what was seen, for claims that record it.
    pub(crate) history: Option<std::path::PathBuf>,
    pub(crate) seed: u64,
    pub(crate) random: Random,
    pub(crate) mutant: Option<String>,
}

impl Context {
    /// Whether this run is spoiled by the named mutant.
    pub(crate) fn is_mutant(&self, name: &str) -> bool {
        self.mutant.as_deref() == Some(name)
    }
}

/// What a run has shown.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    trials: u64,
    failures: u64,
    sentences: u64,
    caught: bool,
    figures: Vec<(&'static str, String)>,
}

impl Verdict {
    /// Counts one trial; `why` is asked for its sentence when it failed.
    pub(crate) fn trial(&mut self, held: bool, why: impl FnOnce() -> String) {
        self.trials += 1;
        if !held {
            self.fail(1, why);
        }
    }

    /// Counts trials that were judged together.
    pub(crate) fn trials_of(&mut self, trials: u64, failures: u64, why: impl FnOnce() -> String) {
        self.trials += trials;
        if failures > 0 {
            self.fail(failures, why);
        }
    }

    /// Adds `name=value` to the line.
    pub(crate) fn figure(&mut self, name: &'static str, value: impl std::fmt::Display) {
        self.figures.push((name, value.to_string()));
    }

    /// The run could not be carried out.
    pub(crate) fn broke_off(&mut self, why: &str) {
        self.failures += 1;
        eprintln!("  broke off: {why}");
        self.figures.push(("error", "broke-off".into()));
    }

    pub(crate) fn trials(&self) -> u64 {
        self.trials
    }

    pub(crate) fn failures(&self) -> u64 {
        self.failures
    }

    /// Whether a check, and not an accident, has failed.
    pub(crate) fn is_caught(&self) -> bool {
        self.caught
    }

    pub(crate) fn figures(&self) -> &[(&'static str, String)] {
        &self.figures
    }

    fn fail(&mut self, failures: u64, why: impl FnOnce() -> String) {
        if self.sentences < SENTENCES_MAX {
            eprintln!("  failed: {}", why());
        }
        self.sentences += 1;
        self.failures += failures;
        self.caught = true;
    }
}

/// Nothing stands in the way.
pub(crate) fn no_obstacle() -> Option<String> {
    None
}
