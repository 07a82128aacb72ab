use std::fmt::Write as _;

use super::{Action, Recording, Role, allows, any_allows, beyond, roles};

/// The whole table, for a person to read: a change of policy must change this text.
const MATRIX: &str = "\
action                viewer     developer  approver   operator   security   auditor
status.read           yes        yes        yes        yes        yes        yes
node.read             yes        yes        yes        yes        yes        yes
structure.read        yes        yes        yes        yes        yes        yes
document.check        yes        yes        yes        yes        yes        yes
document.apply        -          -          -          yes        -          -
consumer.read         yes        yes        yes        yes        yes        yes
consumer.create       -          -          -          yes        -          -
consumer.delete       -          -          -          yes        -          -
application.read      yes        yes        yes        yes        yes        yes
application.create    -          -          -          yes        -          -
application.delete    -          -          -          yes        -          -
key.read              yes        yes        yes        yes        yes        yes
key.create            -          yes        -          yes        -          -
key.import            -          -          -          yes        -          -
key.roll              -          yes        -          yes        -          -
key.change            -          yes        -          yes        -          -
key.approve           -          -          yes        yes        -          -
key.refuse            -          -          yes        yes        -          -
key.disable           -          yes        -          yes        yes        -
key.enable            -          yes        -          yes        -          -
key.revoke            -          yes        -          yes        yes        -
token.deny            -          yes        -          yes        yes        -
token.read            -          yes        -          yes        yes        yes
operator.read         -          -          -          yes        yes        yes
operator.create       -          -          -          yes        -          -
operator.revoke       -          -          -          yes        yes        -
account.read          -          -          yes        yes        yes        yes
account.decide        -          -          yes        yes        -          -
account.disable       -          -          -          yes        yes        -
account.enable        -          -          -          yes        -          -
account.invite        -          -          -          yes        -          -
account.reset         -          -          -          yes        -          -
account.reset_factor  -          -          -          yes        -          -
account.link          -          -          -          yes        -          -
notification.read     -          -          -          yes        yes        yes
notification.retry    -          -          -          yes        -          -
usage.read            yes        yes        yes        yes        yes        yes
cache.purge           -          yes        -          yes        yes        -
audit.read            -          -          -          -          yes        yes
";

fn printed() -> String {
    let mut out = format!("{:<22}", "action");
    let line = |first: String, cells: Vec<&str>| {
        let mut text = first;
        for cell in cells {
            write!(text, "{cell:<11}").unwrap();
        }
        text.trim_end().to_owned() + "\n"
    };
    out = line(out, Role::ALL.iter().map(|role| role.as_str()).collect());
    for action in Action::ALL {
        let cells = Role::ALL.iter().map(|role| if allows(*role, *action) { "yes" } else { "-" }).collect();
        out += &line(format!("{:<22}", action.code()), cells);
    }
    out
}

#[test]
fn the_policy_is_exactly_the_published_matrix() {
    assert_eq!(printed(), MATRIX);
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
