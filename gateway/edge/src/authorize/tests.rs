use model::time::{BootNanos, UtcMicros};

use super::*;
use crate::fixture::{admitted, edge, labeled};

const NOW: Now = Now { boot: BootNanos(1), wall: UtcMicros(1) };

/// A region is chosen once a body that is held is there, by the labels of when it began.
#[test]
fn whoever_gets_other_labels_while_the_request_comes_in_is_refused() {
    let lists: [Option<&[&str]>; 4] = [None, Some(&["eu"]), Some(&["us"]), Some(&["mars"])];
    let told = |before: Option<&[&str]>, after: Option<&[&str]>, path: &str| {
        let (edge, snapshot) = (edge(labeled(after, "")), labeled(before, ""));
        admitted(&snapshot, &edge, path, |admitted| still_fresh(admitted.permit(), &edge, true, NOW).map_err(|denial| denial.kind))
    };

    for (index, before) in lists.into_iter().enumerate() {
        for (other, after) in lists.into_iter().enumerate() {
            let expected = if index == other { Ok(()) } else { Err(ProblemKind::ResidencyMismatch) };
            for path in ["/strict", "/key"] {
                assert_eq!(told(before, after, path), expected, "{path} {before:?} {after:?}");
            }
            assert_eq!(told(before, after, "/open"), Ok(()), "nobody has asked who calls");
        }
    }
}
