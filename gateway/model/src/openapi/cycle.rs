//! References that would make validation run forever, or deeper than the stack.
//!
//! A recursive schema is fine as long as each turn descends into the value, whose depth is limited. A loop that stays at
//! the same value (`A: {$ref: A}`) never ends, and a long chain there multiplies with the depth of the value.

use super::Errors;
use super::schema::{LEVELS_MAX, Link, Root};

/// References that may be followed for one value, all branches together. A large `oneOf` has some hundred.
const SCHEMAS_MAX: usize = 4_096;

/// Reports every root that is on such a loop, and a root that starts a chain that is too long. Returns whether there is
/// no loop.
pub(super) fn check(roots: &[Root], errors: &mut Errors) -> bool {
    let order = Order::of(roots);
    let is_acyclic = order.looping.is_empty();
    for number in order.looping {
        if let Some(root) = roots.get(number) {
            let help = "let the schema refer to itself only for a property or an item of the value";
            errors.add(root.pointer.clone(), "the schema refers to itself for the same value", help);
        }
    }
    let mut weights = vec![Weight::default(); roots.len()];
    for number in order.sorted {
        let whole = roots.get(number).into_iter().flat_map(|root| &root.links).filter(|link| link.is_whole);
        let weight = Weight::of(whole, &weights);
        if let Some(slot) = weights.get_mut(number) {
            *slot = weight;
        }
    }
    let heavy = roots.iter().map(|root| (root, Weight::of(&root.links, &weights)));
    // What leads into a chain that is too long is too long as well; one report is enough.
    if let Some((root, _)) = heavy.clone().find(|(_, weight)| weight.levels > LEVELS_MAX) {
        let message = format!("more than {LEVELS_MAX} schemas apply to the same value in a chain");
        errors.add(root.pointer.clone(), message, "flatten the chain of `$ref` and `allOf`");
    }
    if let Some((root, _)) = heavy.clone().find(|(_, weight)| weight.n_schemas > SCHEMAS_MAX) {
        let message = format!("more than {SCHEMAS_MAX} schemas apply to the same value");
        errors.add(root.pointer.clone(), message, "refer to each schema once");
    }
    is_acyclic
}

/// What following references costs for one value.
#[derive(Debug, Clone, Copy, Default)]
struct Weight {
    /// Of the longest chain.
    levels: usize,
    /// Of all chains together: `A: [B, B]`, `B: [C, C]`, .. doubles at each step.
    n_schemas: usize,
}

impl Weight {
    fn of<'l, L: IntoIterator<Item = &'l Link>>(links: L, weights: &[Self]) -> Self {
        let mut weight = Self::default();
        for link in links {
            let target = weights.get(link.target).copied().unwrap_or_default();
            weight.levels = weight.levels.max(link.levels + target.levels);
            weight.n_schemas = weight.n_schemas.saturating_add(target.n_schemas).saturating_add(1);
        }
        weight
    }
}

/// The roots in such an order that each comes after those it refers to, and the roots for which there is no such order.
struct Order {
    sorted: Vec<usize>,
    looping: Vec<usize>,
}

impl Order {
    fn of(roots: &[Root]) -> Self {
        let whole = |root: &Root| root.links.iter().filter(|link| link.is_whole).map(|link| link.target).collect();
        let forward: Vec<Vec<usize>> = roots.iter().map(whole).collect();
        let mut backward = vec![Vec::new(); roots.len()];
        for (number, nexts) in forward.iter().enumerate() {
            for next in nexts {
                if let Some(list) = backward.get_mut(*next) {
                    list.push(number);
                }
            }
        }
        // What remains after peeling from one side is the loops and what leads into them; the other side peels that off.
        let (sorted, is_peeled) = peel(&forward, &backward, &vec![false; roots.len()]);
        let (_, is_peeled) = peel(&backward, &forward, &is_peeled);
        let looping = is_peeled.iter().enumerate().filter(|(_, is_peeled)| !**is_peeled).map(|(number, _)| number);
        Self { sorted, looping: looping.collect() }
    }
}

/// Takes away, again and again, the nodes that have no edge to a node that is left.
fn peel(edges: &[Vec<usize>], reverse: &[Vec<usize>], is_gone: &[bool]) -> (Vec<usize>, Vec<bool>) {
    let is_left = |node: &usize| !is_gone.get(*node).copied().unwrap_or(true);
    let mut is_gone_now = is_gone.to_vec();
    let mut n_edges: Vec<usize> = edges.iter().map(|nexts| nexts.iter().filter(|next| is_left(next)).count()).collect();
    let mut free: Vec<usize> = (0..edges.len()).rev().filter(|node| is_left(node) && n_edges.get(*node) == Some(&0)).collect();
    let mut sorted = Vec::new();
    while let Some(node) = free.pop() {
        sorted.push(node);
        if let Some(is_gone) = is_gone_now.get_mut(node) {
            *is_gone = true;
        }
        for before in reverse.get(node).into_iter().flatten().filter(|before| is_left(before)) {
            if let Some(n) = n_edges.get_mut(*before) {
                *n -= 1;
                if *n == 0 {
                    free.push(*before);
                }
            }
        }
    }
    (sorted, is_gone_now)
}
