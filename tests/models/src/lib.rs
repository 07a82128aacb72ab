//! Exhaustive models of what the design promises about regions: its protocols, small enough that every state is looked at.
//!
//! They are the specification that the code is judged by: each says what it stands for, how large it is, and which invariants of the
//! design (C1 to C7, R1 to R4) it checks. Each has mutants: the same protocol with one mistake, which the model must find, so that it
//! is known to see. And each tells what must be possible: a protocol that refuses everything keeps every invariant, and fails here.
//!
//! Must not know: any other crate of ours, time, chance, I/O. A model is a value, and what can happen to it a pure function.
//!
//! Reading order: [`run`] and [`ALL`], `check` (the checker), then a model: `revisions`, `positions`, or `cluster` (two database
//! servers), `probe` (what a node learns from them) and the two models that rest on both, `revocation` and `staleness`.
#![expect(clippy::indexing_slicing, reason = "servers and epochs are counted by constants; an index outside ends the run of a model")]

mod check;
mod cluster;
mod positions;
mod probe;
mod revisions;
mod revocation;
mod staleness;

pub use check::{Outcome, Violation};

/// A model.
#[derive(Debug)]
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// What it shows, as a sentence.
    pub promise: &'static str,
    /// How large it is.
    pub bounds: &'static str,
    /// The invariants that it checks, by their names in the design.
    pub invariants: &'static [&'static str],
    /// What must be possible in it.
    pub possible: &'static [&'static str],
    /// What it must find.
    pub mutants: &'static [Mutant],
    run: fn(Option<&str>) -> Outcome,
}

/// A protocol with one mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mutant {
    /// Its name.
    pub name: &'static str,
    /// What the mistake breaks: an invariant, or what is no longer possible.
    pub breaks: &'static str,
}

/// Every model. Those of idempotency and of limit leases come with the code that they judge.
pub const ALL: [&Entry; 4] = [&revisions::ENTRY, &revocation::ENTRY, &positions::ENTRY, &staleness::ENTRY];

/// The names of all mutants of all models; each is another.
pub const MUTANTS: [&str; mutants_count()] = mutant_names();

const fn mutants_count() -> usize {
    let (mut n, mut at) = (0, 0);
    while at < ALL.len() {
        n += ALL[at].mutants.len();
        at += 1;
    }
    n
}

const fn mutant_names<const N: usize>() -> [&'static str; N] {
    let (mut names, mut n, mut at) = ([""; N], 0, 0);
    while at < ALL.len() {
        let mut of = 0;
        while of < ALL[at].mutants.len() {
            names[n] = ALL[at].mutants[of].name;
            n += 1;
            of += 1;
        }
        at += 1;
    }
    names
}

/// Looks at every state of a model, or of one of its mutants up to the first broken invariant. Takes seconds, and memory for each
/// state. `None` when there is no such model, or it has no such mutant.
pub fn run(name: &str, mutant: Option<&str>) -> Option<Outcome> {
    let entry = ALL.into_iter().find(|entry| entry.name == name)?;
    let is_known = mutant.is_none_or(|mutant| entry.mutants.iter().any(|known| known.name == mutant));
    is_known.then(|| (entry.run)(mutant))
}

/// Declares the mutants of a model: an enum, and the table of their names and what each must break.
macro_rules! mutants {
    ($($(#[$doc:meta])+ $variant:ident $name:literal breaks $breaks:literal;)+) => {
        /// The protocol with one mistake.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Mutant {
            $($(#[$doc])+ $variant),+
        }

        impl Mutant {
            /// Their names.
            pub(crate) const TABLE: &[crate::Mutant] = &[$(crate::Mutant { name: $name, breaks: $breaks }),+];

            /// The one of this name.
            pub(crate) fn of(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }
    };
}
use mutants;

#[cfg(test)]
mod tests;
