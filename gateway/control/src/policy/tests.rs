use super::{Action, Recording, Role, allows, any_allows, beyond, matrix, roles};

/// The whole table, for a person to read: a change of policy must change that page. Renewed by `causeway policy > docs/policy.md`.
#[test]
fn the_policy_is_exactly_the_published_page() {
    let page = include_str!("../../../../docs/policy.md");

    for (line, (published, own)) in page.lines().zip(matrix::text().lines()).enumerate() {
        assert_eq!(published, own, "docs/policy.md, line {}", line + 1);
    }
    assert_eq!(page, matrix::text());
}

/// The page says of each role and action what the table says, wherever it stands.
#[test]
fn the_page_has_a_row_for_each_action_and_a_cell_for_each_role() {
    let page = matrix::text();
    for action in Action::ALL {
        let rows: Vec<_> = page.lines().filter(|line| line.starts_with(&format!("| `{}` |", action.code()))).collect();
        let [row] = rows[..] else { panic!("{}: {rows:?}", action.code()) };
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let expected = Role::ALL.map(|role| if allows(role, *action) { "yes" } else { "" });
        assert_eq!(cells[2..8], expected, "{row}");
        assert!(cells[1].ends_with('.') && cells[1].len() > 10, "{row}");
    }
    assert!(page.lines().all(|line| !line.starts_with("### ") || line.chars().nth(4).is_some_and(char::is_uppercase)), "a resource without a title");
}

#[test]
fn an_auditor_changes_nothing() {
    let changes = |action: &&Action| action.recording() == Recording::Required && **action != Action::AuditRead;

    assert!(Action::ALL.iter().filter(changes).all(|action| !allows(Role::Auditor, *action)));
    assert!(allows(Role::Auditor, Action::AuditRead));
}

#[test]
fn every_change_and_every_reading_of_the_log_is_recorded() {
    for action in Action::ALL {
        let (_, verb) = action.code().split_once('.').unwrap();
        let reads = (verb == "read" && *action != Action::AuditRead) || *action == Action::DocumentCheck;
        assert_eq!(action.recording() == Recording::None, reads, "{}", action.code());
    }
}

#[test]
fn the_first_operator_may_do_everything() {
    let admin = roles("admin");

    assert!(Action::ALL.iter().all(|action| any_allows(&admin, *action)));
}

#[test]
fn an_unknown_role_grants_nothing() {
    for name in ["", "root", "Operator", "operator ", "*"] {
        assert!(roles(name).is_empty(), "{name}");
    }
    assert!(!any_allows(&[], Action::StatusRead));
}

#[test]
fn names_of_roles_and_actions_are_unique_and_read_back() {
    let mut codes: Vec<_> = Action::ALL.iter().map(|action| action.code()).collect();
    codes.sort_unstable();
    codes.dedup();

    assert_eq!(codes.len(), Action::ALL.len());
    assert!(Role::ALL.iter().all(|role| Role::parse(role.as_str()) == Some(*role)));
}

#[test]
fn nobody_grants_what_they_have_not() {
    let may = |granting: &str, granted: &str| beyond(&roles(granting), &roles(granted)).is_none();
    for granted in ["viewer", "developer", "approver", "operator"] {
        assert!(may("operator", granted), "{granted}");
    }
    assert_eq!(beyond(&roles("operator"), &roles("auditor")), Some(Action::AuditRead));
    assert_eq!(beyond(&roles("operator"), &roles("security")), Some(Action::AuditRead));
    assert!(!may("operator", "admin") && !may("security", "operator") && !may("developer", "approver") && !may("viewer", "developer"));
    for granted in ["viewer", "developer", "approver", "operator", "security", "auditor", "admin"] {
        assert!(may("admin", granted), "{granted}");
    }
}
