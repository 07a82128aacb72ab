//! References that would make validation run forever, or deeper than the stack.
//!
//! A recursive schema is fine as long as each turn descends into the value, whose depth is limited. A loop that stays at
//! the same value (`A: {$ref: A}`) never ends, and a long chain there multiplies with the depth of the value.

use super::Errors;
use super::schema::Root;

/// Schemas that may apply to one value in a chain. With 64 levels of value this stays far below a 2 MiB stack.
const CHAIN_MAX: usize = 32;

/// Reports every root that is on such a loop, and the first that starts a chain that is too long. Returns whether there
/// is no loop.
pub(super) fn check(roots: &[Root], errors: &mut Errors) -> bool {
    let order = Order::of(roots);
    let is_acyclic = order.looping.is_empty();
    for number in order.looping {
        if let Some(root) = roots.get(number) {
            let help = "let the schema refer to itself only for a property or an item of the value";
            errors.add(root.pointer.clone(), "the schema refers to itself for the same value", help);
        }
    }
    let mut chains = vec![0_usize; roots.len()];
    for number in order.sorted {
        let Some(root) = roots.get(number) else { continue };
        let links = root.same_value.iter();
        let longest = links.map(|(next, depth)| depth + chains.get(*next).copied().unwrap_or(0)).max().unwrap_or(0);
        if longest > CHAIN_MAX {
            let message = format!("more than {CHAIN_MAX} schemas apply to the same value in a chain");
            errors.add(root.pointer.clone(), message, "flatten the chain of `$ref` and `allOf`");
            break;
        }
        if let Some(chain) = chains.get_mut(number) {
            *chain = longest;
        }
    }
    is_acyclic
}

/// The roots in such an order that each comes after those it refers to, and the roots for which there is no such order.
struct Order {
    sorted: Vec<usize>,
    looping: Vec<usize>,
}

impl Order {
    fn of(roots: &[Root]) -> Self {
        let forward: Vec<Vec<usize>> =
            roots.iter().map(|root| root.same_value.iter().map(|(next, _)| *next).collect()).collect();
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
    let mut free: Vec<usize> =
        (0..edges.len()).rev().filter(|node| is_left(node) && n_edges.get(*node) == Some(&0)).collect();
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
