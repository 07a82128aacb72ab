//! The table as a page for people: `docs/policy.md`, which a test holds against it.

use store::account::team::TeamRole;

use super::{Action, Recording, Role, allows};
use crate::portal::{Right, member_may};

const HEAD: &str = "\
# Who may do what

This page is written by `causeway policy` and is what the program goes by: a test fails when the two differ. Everybody who changes something
through the admin API, the command line, the portal or their own programs is held against these tables, and whoever is in none of them may do nothing.

## Operators

An operator has one or more of these roles. `admin`, which the first operator is, is operator and auditor together. Nobody gives away what they have not: see
[operations.md](operations.md).

";

const RECORDED: &str = "
*Recorded* is what leaves a record in the access log, with who did it, and is not done where the log cannot take one. Refusals are always recorded.
";

const TEAMS: &str = "
## Members of a team

Developers who use the [portal](portal.md) are members of teams, and see and change what is their team's alone. The same holds for their programs, with a token of their own.
To leave a team is everybody's right; the last owner stays.

";

/// The page, in Markdown.
pub fn text() -> String {
    let mut page = vec![HEAD.to_owned(), row(&["role", ""]), row(&["---"; 2])];
    page.extend(Role::ALL.iter().map(|role| row(&[&format!("**{}**", role.as_str()), role.words()])));
    page.push(RECORDED.to_owned());
    let roles = Role::ALL.map(Role::as_str).join(" | ");
    for resource in resources() {
        page.push(format!("\n### {}\n\n", title(resource)));
        page.extend([row(&["action", "", &roles, "recorded"]), row(&["---"; 9])]);
        for action in Action::ALL.iter().copied().filter(|action| resource_of(*action) == resource) {
            let cells = Role::ALL.map(|role| word(allows(role, action))).join(" | ");
            let recorded = word(action.recording() == Recording::Required);
            page.push(row(&[&format!("`{}`", action.code()), action.words(), &cells, recorded]));
        }
    }
    page.push(TEAMS.to_owned());
    let members = [TeamRole::Owner, TeamRole::Developer, TeamRole::Viewer];
    page.extend([row(&["", &members.map(TeamRole::as_str).join(" | ")]), row(&["---"; 4])]);
    page.extend(Right::ALL.iter().map(|right| row(&[right.sentence(), &members.map(|role| word(member_may(role, *right))).join(" | ")])));
    page.concat()
}

fn row(cells: &[&str]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

const fn word(is_so: bool) -> &'static str {
    if is_so { "yes" } else { "" }
}

fn resource_of(action: Action) -> &'static str {
    action.code().split('.').next().unwrap_or_default()
}

/// Each once, in the order of the table.
fn resources() -> Vec<&'static str> {
    let mut all: Vec<&str> = Vec::new();
    for action in Action::ALL {
        let resource = resource_of(*action);
        if !all.contains(&resource) {
            all.push(resource);
        }
    }
    all
}

/// A heading for people.
fn title(resource: &'static str) -> &'static str {
    match resource {
        "status" => "State of a node",
        "node" => "Nodes",
        "structure" => "Configuration",
        "document" => "The gateway document",
        "consumer" => "Consumers: who the customers are",
        "application" => "Applications: what their keys belong to",
        "key" => "Keys",
        "token" => "Tokens of issuers",
        "operator" => "Operator tokens",
        "account" => "People who sign in to the pages",
        "notification" => "What people are told",
        "usage" => "Usage",
        "cache" => "Stored responses",
        "audit" => "The access log",
        other => other,
    }
}
