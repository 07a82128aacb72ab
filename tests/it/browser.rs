//! The browser of the harness does what a person does, and sees what is wrong with a page.

mod place;

use std::net::SocketAddr;

use harness::browser::{Browser, Key, Line, Scheme, Screen, Violation, obstacle};
use serde_json::json;

use self::place::Place;

/// The pages, and a browser that trusts them, where there can be one.
async fn open(trusted: impl Fn(&Place) -> Vec<SocketAddr>) -> Option<(Place, Browser)> {
    if is_skipped() {
        return None;
    }
    let place = Place::open().await;
    let browser = Browser::start(&place.ca, &trusted(&place)).await.unwrap();
    Some((place, browser))
}

#[expect(clippy::print_stderr, reason = "a skip is never silent")]
fn is_skipped() -> bool {
    let obstacle = obstacle();
    if let Some(reason) = &obstacle {
        eprintln!("skipped: {reason}");
    }
    obstacle.is_some()
}

fn ids(found: &[Violation]) -> Vec<&str> {
    found.iter().map(|violation| violation.id.as_str()).collect()
}

fn severe(lines: &[Line], source: &str) -> usize {
    lines.iter().filter(|line| line.level == "SEVERE" && line.source == source).count()
}

#[tokio::test]
async fn bad_page_is_found_out_and_a_good_one_is_clean_in_any_colors_and_on_a_phone() {
    let Some((place, browser)) = open(|place| vec![place.address]).await else { return };

    browser.goto(&place.url("/bad")).await.unwrap();
    let found = browser.axe().await.unwrap();
    for (rule, target) in [("image-alt", "#dumb"), ("color-contrast", "#pale"), ("target-size", "button")] {
        let violation = found.iter().find(|violation| violation.id == rule).unwrap_or_else(|| panic!("{rule} is not among {found:?}"));
        assert!(violation.targets.iter().any(|found| found.contains(target)), "{violation:?}");
        assert!(["serious", "critical"].contains(&violation.impact.as_str()), "{violation:?}");
    }
    assert_eq!(severe(&browser.console().await.unwrap(), "security"), 1, "the script in the page is forbidden");
    assert_ne!(browser.script("return document.title", &[]).await.unwrap(), "run");

    for (scheme, color) in [(Scheme::Dark, "rgb(238, 238, 238)"), (Scheme::Light, "rgb(17, 17, 17)")] {
        browser.prefer(scheme).await.unwrap();
        for (screen, width) in [(Screen::Phone, 375), (Screen::Desktop, 1280)] {
            browser.show_on(screen).await.unwrap();
            browser.goto(&place.url("/good")).await.unwrap();
            let seen = browser.script("return [innerWidth, getComputedStyle(document.body).color]", &[]).await.unwrap();
            assert_eq!(seen, json!([width, color]));
            assert_eq!(ids(&browser.axe().await.unwrap()), Vec::<&str>::new());
        }
    }
    assert_eq!(browser.console().await.unwrap(), []);
}

#[tokio::test]
async fn form_is_sent_by_mouse_and_by_keyboard_and_secure_cookies_are_kept() {
    let Some((place, browser)) = open(|place| vec![place.address]).await else { return };

    browser.goto(&place.url("/good")).await.unwrap();
    browser.wait_for("#late").await.unwrap();
    assert_eq!(browser.text("#late").await.unwrap(), "here");
    browser.fill("#name", "first").await.unwrap();
    browser.fill("#name", "Zoë & co").await.unwrap();
    browser.click("#send").await.unwrap();
    assert_eq!(browser.text("#form").await.unwrap(), "name=Zo%C3%AB+%26+co");
    assert_eq!(browser.text("#cookie").await.unwrap(), "__Host-session=s1");
    assert_eq!(browser.url().await.unwrap(), place.url("/welcome"));

    browser.goto(&place.url("/good")).await.unwrap();
    browser.press(&[Key::Tab]).await.unwrap();
    browser.write("by hand").await.unwrap();
    // To the button and back again; then to the button.
    browser.press(&[Key::Tab, Key::BackTab, Key::Tab, Key::Enter]).await.unwrap();
    assert_eq!(browser.text("#form").await.unwrap(), "name=by+hand");
    assert!(browser.source().await.unwrap().contains("<title>Welcome</title>"));

    let picture = place.ca.with_file_name("picture.png");
    browser.screenshot(&picture).await.unwrap();
    assert!(std::fs::read(picture).unwrap().starts_with(b"\x89PNG"));
    assert!(browser.wait_for("p[").await.unwrap_err().chain().any(|cause| cause.to_string().contains("invalid selector")));
}

#[tokio::test]
async fn server_that_nobody_named_is_not_trusted_and_a_panic_leaves_no_process_behind() {
    let Some((place, browser)) = open(|_| Vec::new()).await else { return };

    let error = browser.goto(&place.url("/good")).await.unwrap_err();
    assert!(format!("{error:#}").contains("ERR_CERT_AUTHORITY_INVALID"), "{error:#}");
    let family = browser.processes().unwrap();
    assert!(family.len() > 3, "{family:?}");
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        let _browser = browser;
        panic!("as a test that fails");
    });

    assert!(tasks.join_next().await.unwrap().unwrap_err().is_panic());
    assert!(!family.iter().any(|process| process.is_alive()), "{family:?}");
}
