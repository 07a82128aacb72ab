//! Signing in by an `OpenID` provider that plays by the book, and by one that lies.

use std::collections::HashMap;

use harness::client::{self, Version};
use harness::provider::{CLIENT, Lie, Provider, SECRET, User};
use harness::wait;
use url::Url;

use super::SOON;
use super::person::{PASSWORD, Page, Person};
use crate::operation::{Running, Station};
use crate::program::causeway_at;

const HOME: &str = "/portal/applications";
const BEGIN: &str = "/portal/sign-in/provider";

struct Place {
    station: Station,
    _node: Running,
    provider: Provider,
    http: reqwest::Client,
}

fn user(subject: &str, groups: &[&str]) -> User {
    let groups = groups.iter().map(|group| (*group).to_owned()).collect();
    User { subject: subject.to_owned(), email: format!("{subject}@Example.com"), groups }
}

impl Place {
    async fn start() -> Self {
        let station = Station::start(|text| text).await;
        let certificates = station.ca().parent().unwrap();
        let provider = Provider::start(&certificates.join("server.pem"), &certificates.join("server.key"), user("ann", &["bosses"])).await.unwrap();
        std::fs::write(station.folder().join("oidc"), format!("{SECRET}\n")).unwrap();
        let file = station.arguments().last().unwrap().clone();
        let text = std::fs::read_to_string(&file).unwrap();
        let sign_in = format!(
            "server.key\", sign_in: {{ oidc: {{ name: Example, issuer: \"{}\", client_id: \"{CLIENT}\", client_secret: \"file:oidc\", origin: \"{}\", \
             ca: \"{}\", private_addresses: true, roles: {{ claim: groups, values: [ {{ value: bosses, role: admin }}, {{ value: lookers, role: viewer }} ] }} }} }} }}\n",
            provider.url(),
            station.region.control,
            station.ca().display()
        );
        let control = text.lines().find(|line| line.starts_with("control:")).unwrap();
        let changed = control.replace("server.key\" }", sign_in.trim_end());
        assert_ne!(control, changed);
        std::fs::write(&file, text.replace(control, &changed)).unwrap();
        let node = station.serve().await;
        let http = client::http(station.ca(), Version::Http1).unwrap();
        Self { station, _node: node, provider, http }
    }

    fn person(&self) -> Person {
        Person::new(&self.station.dev, &self.station.region, "x")
    }

    /// Goes there; where the provider sends the browser back to.
    async fn there(&self, person: &mut Person, next: &str) -> Page {
        let page = person.get(&format!("{BEGIN}{next}")).await;
        person.keep(&page);
        page
    }

    async fn consent(&self, page: &Page) -> Url {
        let answer = self.http.get(page.leads_to()).send().await.unwrap();
        assert_eq!(answer.status(), 302, "{}", page.leads_to());
        answer.headers()["location"].to_str().unwrap().parse().unwrap()
    }

    async fn sign_in(&self, person: &mut Person, next: &str) -> Page {
        let page = self.there(person, next).await;
        let back = self.consent(&page).await;
        person.get(&path(&back)).await
    }
}

fn path(url: &Url) -> String {
    format!("{}?{}", url.path(), url.query().unwrap_or_default())
}

fn detail(page: &Page) -> String {
    assert_eq!(page.status, 403, "{}", page.text);
    page.between("<p id=\"detail\">", "<")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_signs_operators_in_and_nobody_else() {
    let place = Place::start().await;
    let mut ann = place.person();
    assert!(ann.get("/portal/sign-in").await.text.contains("Sign in with Example"));
    let page = place.there(&mut ann, "?next=/portal/approvals").await;
    let set = page.cookie().unwrap();
    for attribute in ["__Host-causeway-provider=", "Path=/", "Secure", "HttpOnly", "SameSite=Lax", "Max-Age=600"] {
        assert!(set.contains(attribute), "{attribute}: {set}");
    }
    let asked: Url = page.leads_to().parse().unwrap();
    let asked: HashMap<_, _> = asked.query_pairs().into_owned().collect();
    assert_eq!((asked["response_type"].as_str(), asked["code_challenge_method"].as_str()), ("code", "S256"));
    assert_eq!(asked["redirect_uri"], format!("{}{BEGIN}/back", place.station.region.control));
    assert!(!page.leads_to().contains("verifier"));
    let back = place.consent(&page).await;

    // Another browser has another sign-in, or none.
    let stranger = place.person();
    assert!(detail(&stranger.get(&path(&back)).await).contains("begun in this browser"));
    let mut other = place.person();
    place.there(&mut other, "").await;
    assert!(detail(&other.get(&path(&back)).await).contains("begun in this browser"));
    let twice = path(&back) + "&state=x";
    assert!(detail(&ann.get(&twice).await).contains("begun in this browser"));
    assert_eq!(place.provider.redeemed(), 0);

    let before = ann.cookie.clone();
    let entered = ann.get(&path(&back)).await;
    assert_eq!(entered.leads_to(), "/portal/approvals");
    ann.keep(&entered);
    assert_eq!((ann.get("/portal/approvals").await.status, ann.get("/portal/account").await.text.contains("ann@example.com")), (200, true));
    let mut again = place.person();
    again.cookie = before;
    assert!(detail(&again.get(&path(&back)).await).contains("begun in this browser"), "an answer is used once");
    assert_eq!(place.provider.redeemed(), 1);

    // The same person is the same account, whatever the address; another is not, whatever the address.
    place.provider.seat(User { email: "moved@example.com".to_owned(), ..user("ann", &["lookers", "bosses"]) });
    let mut elsewhere = place.person();
    let page = place.sign_in(&mut elsewhere, "?next=//evil.example").await;
    assert_eq!(page.leads_to(), HOME, "to a page of ours alone");
    elsewhere.keep(&page);
    assert!(elsewhere.get("/portal/account").await.text.contains("ann@example.com"));
    place.provider.seat(User { email: "ann@example.com".to_owned(), ..user("eve", &["bosses"]) });
    assert!(detail(&place.sign_in(&mut place.person(), "").await).contains("has an account already"));
    let mut member = Person::new(&place.station.dev, &place.station.region, "bob@example.com");
    member.sign_up("Bob").await;
    place.provider.seat(user("bob", &["bosses"]));
    assert!(detail(&place.sign_in(&mut place.person(), "").await).contains("has an account already"), "not by the address alone");
    assert!(member.get("/portal/account").await.text.contains("bob@example.com"));
    linked(&place, &member).await;

    // Who has no role is not let in, and whoever had one has it no more.
    place.provider.seat(user("cy", &["others"]));
    assert!(detail(&place.sign_in(&mut place.person(), "").await).contains("gives you no role"));
    place.provider.seat(user("ann", &[]));
    assert!(detail(&place.sign_in(&mut place.person(), "").await).contains("gives you no role"));
    assert_eq!((ann.get(HOME).await.status, elsewhere.get(HOME).await.status), (303, 303));
    place.provider.seat(user("ann", &["lookers"]));
    let page = place.sign_in(&mut ann, "").await;
    ann.keep(&page);
    assert_eq!((ann.get(HOME).await.status, ann.get("/portal/approvals").await.status), (200, 403), "with the role of now");

    // There is no password to set, and disabling works as for everybody.
    let listed = causeway_at(place.station.dev.ready(), &["accounts", "list", "--json"]).await.expect(0).json();
    let found = listed["items"].as_array().unwrap().iter().find(|item| item["email"] == "ann@example.com").unwrap().clone();
    let id = found["id"].as_str().unwrap();
    assert_eq!(found["role"], "viewer");
    causeway_at(place.station.dev.ready(), &["accounts", "reset-password", id]).await.expect(1);
    ann.email = "ann@example.com".to_owned();
    assert_eq!(ann.clone().sign_in(PASSWORD).await.status, 422);
    causeway_at(place.station.dev.ready(), &["accounts", "disable", id]).await.expect(0);
    assert_eq!(ann.get(HOME).await.status, 303);
    assert!(detail(&place.sign_in(&mut ann, "").await).contains("switched off"));
}

/// An operator says that bob's account is the provider's bob.
async fn linked(place: &Place, member: &Person) {
    let told = detail(&place.sign_in(&mut place.person(), "").await);
    assert!(told.ends_with("what Example calls you: bob"), "{told}");
    let listed = causeway_at(place.station.dev.ready(), &["accounts", "list", "--json"]).await.expect(0).json();
    let id_of =
        |email: &str| listed["items"].as_array().unwrap().iter().find(|item| item["email"] == email).unwrap()["id"].as_str().unwrap().to_owned();
    let (bob, ann) = (id_of("bob@example.com"), id_of("ann@example.com"));
    let link = async |id: &str, subject: &str, code| {
        let done = causeway_at(place.station.dev.ready(), &["accounts", "link", id, "--subject", subject]).await.expect(code);
        done.stdout + &done.stderr
    };
    assert!(link(&bob, "ann", 1).await.contains("has an account already"), "the provider's ann is somebody");
    assert!(link(&bob, "b ob", 1).await.contains("visible ASCII"));
    assert!(link(&ann, "other", 1).await.contains("no password"));
    assert_eq!(member.get("/portal/account").await.status, 200, "nothing has changed");

    link(&bob, "bob", 0).await;

    assert_eq!(member.get("/portal/account").await.status, 303, "the session is over");
    assert_eq!(member.clone().sign_in(PASSWORD).await.status, 422, "and the password is none");
    let mut again = place.person();
    let page = place.sign_in(&mut again, "").await;
    assert_eq!(page.leads_to(), HOME);
    again.keep(&page);
    assert!(again.get("/portal/account").await.text.contains("bob@example.com"), "the same account");
    assert_eq!(again.get("/portal/approvals").await.status, 200, "with the role that the provider says");
    assert!(link(&bob, "bob", 1).await.contains("no password"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_lies_signs_nobody_in() {
    let place = Place::start().await;
    let lies = [
        Lie::Nonce,
        Lie::NoNonce,
        Lie::Audience,
        Lie::Audiences,
        Lie::Party,
        Lie::Expired,
        Lie::Old,
        Lie::Issuer,
        Lie::Key,
        Lie::Unsigned,
        Lie::AccessToken,
        Lie::Huge,
        Lie::Redirect,
        Lie::NoToken,
        Lie::MixUp,
        Lie::Unverified,
    ];
    for lie in lies {
        place.provider.lie(lie);
        let mut person = place.person();
        let page = place.sign_in(&mut person, "").await;
        let told = detail(&page);
        let expected = if lie == Lie::MixUp {
            "begun in this browser"
        } else if lie == Lie::Unverified {
            "no verified mail address"
        } else {
            "does not hold"
        };
        assert!(told.contains(expected), "{lie:?}: {told}");
        assert!(page.cookie().is_none_or(|cookie| !cookie.starts_with("__Host-causeway=")), "{lie:?}");
    }
    place.provider.lie(Lie::None);
    let mut person = place.person();
    let page = place.there(&mut person, "").await;
    let back = place.consent(&page).await;
    let code = back.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
    let denied = path(&back).replace(&format!("code={code}"), "error=access_denied");
    assert!(detail(&person.get(&denied).await).contains("did not sign you in"));

    // A code that somebody has put there: it was made for another sign-in, so its verifier is another.
    let theirs = place.there(&mut place.person(), "").await;
    let injected = place.consent(&theirs).await.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
    assert!(detail(&person.get(&path(&back).replace(&code, &injected)).await).contains("does not hold"));

    let accounts = causeway_at(place.station.dev.ready(), &["accounts", "list", "--json"]).await.expect(0).json();
    assert!(accounts["items"].as_array().unwrap().iter().all(|item| item["email"] != "ann@example.com"), "{accounts}");
    assert_eq!(place.sign_in(&mut place.person(), "").await.leads_to(), HOME, "and the truth still does");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_somebody_else_or_not_there_is_told() {
    let place = Place::start().await;
    place.provider.lie(Lie::Configuration);
    let page = place.person().get(BEGIN).await;
    assert_eq!(page.status, 503, "{}", page.text);
    assert!(page.text.contains("Example cannot be reached now"), "{}", page.text);
    place.provider.lie(Lie::None);
    let answers = async || place.person().get(BEGIN).await.status == 303;
    wait::until("the provider", SOON, answers).await.unwrap();
}

/// Whoever wants to sign in by a provider that says nothing waits; whoever wants anything else of the portal does not.
#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_says_nothing_keeps_nobody_else_waiting() {
    let place = Place::start().await;
    place.provider.lie(Lie::Silent);
    let mut people: Vec<Person> = (0..80).map(|_| place.person()).collect();
    let waiting = futures_util::future::join_all(people.iter_mut().map(|person| person.get(BEGIN)));
    let others = async {
        let asked = async || place.provider.asked() > 0;
        wait::until("somebody to be led to the provider", SOON, asked).await.unwrap();
        // All of them at once are more than the portal has places for, until most are told.
        wait::until("a page for somebody else", SOON, async || place.person().get("/portal/sign-in").await.status == 200).await.unwrap();
    };

    let (waited, ()) = tokio::join!(waiting, others);

    assert!(waited.iter().all(|page| page.status == 503), "{:?}", waited.iter().map(|page| page.status).collect::<Vec<_>>());
    let has_waited = waited.iter().filter(|page| page.text.contains("cannot be reached now")).count();
    assert!((1..=16).contains(&has_waited), "{has_waited} of 80 waited, in places that others want");
    assert!(place.provider.asked() <= 3, "it was asked {} times, by 80 people", place.provider.asked());
}
