//! The checker: every state that a model can reach, breadth first, each kept whole.
//!
//! Two states are the same when they are equal, never because a hash says so; the way to a broken invariant is among the shortest.

use std::collections::HashMap;
use std::fmt::{self, Debug, Display};
use std::hash::Hash;

use foldhash::fast::FixedState;

/// A model of more states than this has lost its bounds: the run ends and has shown nothing.
const STATES_MAX: usize = 6_000_000;

/// What a model is: where it starts and what can happen next.
pub(crate) trait Model {
    /// Everything that decides what can happen next, and nothing else.
    type State: Clone + Eq + Hash + Debug;

    /// The one state in which it starts.
    fn start(&self) -> Self::State;

    /// Tells everything that can happen in `state`, and what is seen in it.
    fn steps(&self, state: &Self::State, seen: &mut Steps<Self::State>);
}

/// What happened, for people: a name and who it happened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Label(pub(crate) &'static str, pub(crate) &'static str);

impl Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.1.is_empty() { f.write_str(self.0) } else { write!(f, "{} ({})", self.0, self.1) }
    }
}

/// What a model tells of one state.
#[derive(Debug)]
pub(crate) struct Steps<S> {
    next: Vec<(Label, S)>,
    broken: Option<(&'static str, Label)>,
    reached: Vec<&'static str>,
}

impl<S> Steps<S> {
    /// This can happen, and leads there.
    pub(crate) fn to(&mut self, label: Label, state: S) {
        self.next.push((label, state));
    }

    /// This can happen, and must not.
    pub(crate) fn broken(&mut self, invariant: &'static str, label: Label) {
        self.broken.get_or_insert((invariant, label));
    }

    /// Something that must be possible is.
    pub(crate) fn reached(&mut self, what: &'static str) {
        if !self.reached.contains(&what) {
            self.reached.push(what);
        }
    }
}

/// What a run of a model has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// States that were looked at.
    pub states: usize,
    /// Steps from the start to the farthest of them.
    pub depth: usize,
    /// Whether these are all states that the model has; a broken invariant ends a run.
    pub is_complete: bool,
    /// The first broken invariant.
    pub violated: Option<Violation>,
    /// What should be possible and was never seen; of a run that is not complete it says nothing.
    pub unreached: Vec<&'static str>,
}

impl Outcome {
    /// Whether every state was looked at, no invariant is broken, and everything that should be possible is.
    pub fn holds(&self) -> bool {
        self.is_complete && self.violated.is_none() && self.unreached.is_empty()
    }

    /// What is wrong, by name: an invariant, or what cannot be reached.
    pub fn fault(&self) -> Option<&'static str> {
        match &self.violated {
            Some(violation) => Some(violation.invariant),
            None if self.is_complete => self.unreached.first().copied(),
            None => None,
        }
    }
}

/// A broken invariant and how it comes to that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Its name, as in the design.
    pub invariant: &'static str,
    /// What happened, one step a line; the last one breaks it.
    pub steps: Vec<String>,
    /// The state in which the last step happened.
    pub state: String,
}

impl Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} is broken:", self.invariant)?;
        for (at, step) in self.steps.iter().enumerate() {
            writeln!(f, "  {:>2}. {step}", at + 1)?;
        }
        write!(f, "  in {}", self.state)
    }
}

/// Looks at every state; `expected` is what must be possible.
pub(crate) fn run<M: Model>(model: &M, expected: &[&'static str]) -> Outcome {
    let mut ids: HashMap<M::State, u32, FixedState> = HashMap::with_hasher(FixedState::default());
    let mut parents: Vec<u32> = vec![0];
    let mut level = vec![(0_u32, model.start())];
    ids.insert(model.start(), 0);
    let mut seen = Steps { next: Vec::new(), broken: None, reached: Vec::new() };
    let (mut depth, mut violated) = (0, None);
    'levels: loop {
        let mut below = Vec::new();
        for (id, state) in level {
            model.steps(&state, &mut seen);
            if let Some((invariant, label)) = seen.broken.take() {
                let mut steps = way(model, &ids, &parents, id);
                steps.push(label.to_string());
                violated = Some(Violation { invariant, steps, state: format!("{state:?}") });
                break 'levels;
            }
            for (_, next) in seen.next.drain(..) {
                let fresh = u32::try_from(parents.len()).unwrap_or(u32::MAX);
                if let std::collections::hash_map::Entry::Vacant(place) = ids.entry(next) {
                    below.push((fresh, place.key().clone()));
                    place.insert(fresh);
                    parents.push(id);
                }
            }
        }
        if below.is_empty() || parents.len() > STATES_MAX {
            break;
        }
        depth += 1;
        level = below;
    }
    let is_complete = violated.is_none() && parents.len() <= STATES_MAX;
    let unreached = expected.iter().copied().filter(|what| !seen.reached.contains(what)).collect();
    Outcome { states: parents.len(), depth, is_complete, violated, unreached }
}

/// The steps from the start to a state, found by walking the way again: only the numbers of states are kept.
fn way<M: Model>(model: &M, ids: &HashMap<M::State, u32, FixedState>, parents: &[u32], to: u32) -> Vec<String> {
    let parent = |id: u32| usize::try_from(id).ok().and_then(|at| parents.get(at)).copied().unwrap_or(0);
    let mut hops: Vec<u32> = std::iter::successors(Some(to), |id| (*id != 0).then(|| parent(*id))).filter(|id| *id != 0).collect();
    hops.reverse();
    let (mut state, mut steps) = (model.start(), Vec::new());
    for hop in hops {
        let mut seen = Steps { next: Vec::new(), broken: None, reached: Vec::new() };
        model.steps(&state, &mut seen);
        let Some((label, next)) = seen.next.into_iter().find(|(_, next)| ids.get(next) == Some(&hop)) else { break };
        steps.push(label.to_string());
        state = next;
    }
    steps
}

#[cfg(test)]
mod tests;
