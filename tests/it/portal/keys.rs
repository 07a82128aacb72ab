//! What the pages say of keys that nobody uses, and of a team that has none left.

use harness::sql::Sql;
use harness::wait;

use super::{SOON, becomes, member};
use crate::calls::shared;

/// What of a page lists keys: their names, those that are marked as unused with a mark.
fn listed(page: &super::Page) -> Vec<String> {
    let table = page.text.split_once("<section aria-labelledby=\"keys-title\">").unwrap().1.split_once("</section>").unwrap().0;
    let rows = table.split("<tr>\n<td><a href=\"/portal/keys/").skip(1);
    let mut names: Vec<_> = rows
        .map(|row| {
            let name = row.split_once('>').unwrap().1.split_once('<').unwrap().0;
            if row.contains("unused for 90 days</span>") { format!("{name} unused") } else { name.to_owned() }
        })
        .collect();
    names.sort_unstable();
    names
}

/// Unused is a key that could be used, and was not for 90 days: since its last use, or since it was made.
#[tokio::test(flavor = "multi_thread")]
async fn keys_that_nobody_used_for_90_days_are_marked_and_can_be_listed_alone() {
    let dev = shared().await;
    let ann = member(&dev, "unused@example.com", "Unused").await;
    let application = ann.application("Shop").await;
    let only = format!("{application}?unused=1");
    let none = "Every key was used within the last 90 days, or is younger.";
    assert!(ann.get(&only).await.text.contains(none) && ann.get(&application).await.text.contains("There is no key yet"));

    let sql = Sql::open(dev.writer().unwrap().postgres_port, &dev.reader().unwrap().postgres_data_dir).unwrap();
    let run = async |statement: String| sql.ask("causeway", &statement).await.unwrap();
    // When it was made, when it was used last, and what else has happened to it.
    let (day, before) = ("90 days", "90 days - interval '1 minute'");
    for (name, made, used, more) in [
        ("young", "1 day", None, ""),
        ("nearly", before, None, ""),
        ("never", day, None, ""),
        ("in-use", "400 days", Some("1 hour"), ""),
        ("used-nearly", "400 days", Some(before), ""),
        ("used-once", "400 days", Some(day), ""),
        ("disabled", "400 days", None, "state = 'disabled', disabled_by = 'account:x'"),
        ("over", "400 days", None, "expires_at = now() - interval '1 second'"),
        ("gone", "400 days", None, "state = 'revoked', revoked_at = now(), revoked_by = 'account:x', revoked_reason = 'asked'"),
    ] {
        let (page, _) = ann.key(&application, name).await;
        let id = page.rsplit('/').next().unwrap();
        let before = |ago: &str| format!("now() - interval '{}", ago.replacen(" - ", "' + ", 1)) + if ago.contains(" - ") { "" } else { "'" };
        let more = if more.is_empty() { String::new() } else { format!(", {more}") };
        run(format!("update api_key set created_at = {}{more} where key_id = '{id}'", before(made))).await;
        if let Some(used) = used {
            run(format!("insert into key_use (key_id, at) values ('{id}', {})", before(used))).await;
        }
    }

    let all = ["disabled", "gone", "in-use", "nearly", "never unused", "over", "used-nearly", "used-once unused", "young"];
    let seen = async || listed(&ann.get(&application).await) == all;
    let ends = wait::until("what was written, at the node that is asked", SOON, seen).await;
    assert!(ends.is_ok(), "{:?}", listed(&ann.get(&application).await));
    assert_eq!(listed(&ann.get(&only).await), ["never unused", "used-once unused"]);
    for other in ["unused=0", "unused=", "unused", "unused=1x", "x=unused=1"] {
        assert_eq!(listed(&ann.get(&format!("{application}?{other}")).await), all, "{other}");
    }
    let bob = member(&dev, "unused-too@example.com", "Unused too").await;
    assert_eq!(bob.get(&only).await.status, 404, "another team's");
}

/// A team that has revoked its last key has none: what was its key is nobody's, and the pages say so.
#[tokio::test(flavor = "multi_thread")]
async fn a_team_revokes_its_last_key_and_has_none() {
    let dev = shared().await;
    let ann = member(&dev, "last@example.com", "Last").await;
    let application = ann.application("Shop").await;
    let (key, secret) = ann.key(&application, "only").await;
    becomes(&dev, &secret, 200).await;

    ann.post(&format!("{key}/revoke"), &[("confirm", "only")]).await.leads_to();
    becomes(&dev, &secret, 401).await;
    let page = ann.get(&application).await;
    assert!(
        page.text.contains("<span class=\"badge\">revoked</span>") && !page.text.contains("<span class=\"badge\">active</span>"),
        "{}",
        page.text
    );
    let (_, second) = ann.key(&application, "second").await;
    becomes(&dev, &second, 200).await;
    assert_eq!(super::status(&dev, &secret).await, 401, "a new key wakes no old one");

    let named = page.between("Type <strong>", "</strong>");
    assert_eq!(ann.post(&format!("{application}/delete"), &[("confirm", &named)]).await.status, 303);
    becomes(&dev, &second, 401).await;
    assert_eq!(super::status(&dev, &secret).await, 401);
    assert_eq!(ann.get(&application).await.status, 404);
    let again = ann.application("Shop").await;
    assert!(ann.get(&again).await.text.contains("There is no key yet"), "an application of the same name is another one");
}
