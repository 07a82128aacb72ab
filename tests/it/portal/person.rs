//! A person at the portal, as their browser speaks for them: a cookie, forms, and where they come from.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use data_encoding::BASE32_NOPAD;
use harness::client::{self, Version};
use harness::dev::{Dev, RegionReady};
use model::totp::TotpSecret;
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};

pub(super) const PASSWORD: &str = "the ferry leaves at noon";

/// A page as it came.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) status: u16,
    pub(super) headers: reqwest::header::HeaderMap,
    pub(super) text: String,
}

impl Page {
    /// Where it leads, without what it says there.
    pub(super) fn leads_to(&self) -> &str {
        assert_eq!(self.status, 303, "{}", self.text);
        self.headers[LOCATION].to_str().unwrap()
    }

    /// The value of the cookie that it sets, with its attributes.
    pub(super) fn cookie(&self) -> Option<&str> {
        self.headers.get(SET_COOKIE).map(|value| value.to_str().unwrap())
    }

    /// What stands between two texts, with characters for people.
    pub(super) fn between(&self, start: &str, end: &str) -> String {
        let (_, rest) = self.text.split_once(start).unwrap_or_else(|| panic!("no {start} in {}", self.text));
        rest.split_once(end).unwrap().0.to_owned()
    }

    /// What the page complains of.
    pub(super) fn mistake(&self, field: &str) -> String {
        assert_eq!(self.status, 422, "{}", self.text);
        let start = format!("id=\"{field}-mistake\"");
        self.between(&start, "</p>").split_once('>').unwrap().1.to_owned()
    }
}

/// An app that shows codes.
#[derive(Debug, Clone)]
pub(super) struct Device {
    secret: [u8; 20],
    /// The code that it was set up with.
    pub(super) first: String,
    pub(super) recovery_codes: Vec<String>,
}

impl Device {
    /// The code of so many steps from now.
    #[expect(clippy::disallowed_methods, reason = "the clock of a device of its own")]
    pub(super) fn code(&self, steps: i64) -> String {
        let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
        let code = TotpSecret::new(self.secret).code(u64::try_from(now / 30 + steps).unwrap());
        String::from_utf8(code.to_vec()).unwrap()
    }
}

/// Somebody with an address of their own.
#[derive(Debug, Clone)]
pub(super) struct Person {
    http: reqwest::Client,
    control: String,
    pub(super) email: String,
    pub(super) cookie: Option<String>,
}

impl Person {
    /// Somebody who has never been there. `email` is theirs alone in this run.
    pub(super) fn new(dev: &Dev, region: &RegionReady, email: &str) -> Self {
        static NEXT: AtomicU8 = AtomicU8::new(1);
        let from = IpAddr::V4(Ipv4Addr::new(127, 77, 0, NEXT.fetch_add(1, Ordering::Relaxed)));
        let http = client::http_from(&dev.ready().ca, Version::Http1, Some(from)).unwrap();
        Self { http, control: region.control.clone(), email: email.to_owned(), cookie: None }
    }

    pub(super) async fn get(&self, path: &str) -> Page {
        self.send(self.http.get(self.url(path))).await
    }

    /// Sends a form of one of our own pages.
    pub(super) async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Page {
        self.send(self.form(path, fields).header("sec-fetch-site", "same-origin")).await
    }

    /// A form, before it is said where it comes from.
    pub(super) fn form(&self, path: &str, fields: &[(&str, &str)]) -> reqwest::RequestBuilder {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.http.post(self.url(path)).header("content-type", "application/x-www-form-urlencoded").body(body)
    }

    pub(super) async fn send(&self, request: reqwest::RequestBuilder) -> Page {
        let request = match &self.cookie {
            Some(cookie) => request.header(COOKIE, cookie),
            None => request,
        };
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Page { status, headers, text: answer.text().await.unwrap() }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.control)
    }

    /// Keeps the cookie that a page sets.
    pub(super) fn keep(&mut self, page: &Page) {
        let cookie = page.cookie().unwrap_or_else(|| panic!("no cookie: {page:?}"));
        self.cookie = Some(cookie.split_once(';').unwrap().0.to_owned());
    }

    pub(super) async fn sign_up(&mut self, team: &str) -> Page {
        let email = self.email.clone();
        let page = self.post("/portal/sign-up", &[("name", "Ann"), ("email", &email), ("organization", team), ("password", PASSWORD)]).await;
        assert_eq!(page.leads_to(), "/portal/applications?done=welcome");
        self.keep(&page);
        page
    }

    /// Sets up a second factor, as operators have to.
    pub(super) async fn enroll(&mut self) -> Device {
        let page = self.get("/portal/account/second-factor").await;
        self.take(&page).await
    }

    /// Takes the secret that a page offers, and shows that it has it.
    pub(super) async fn take(&mut self, page: &Page) -> Device {
        let secret = page.between("aria-label=\"The text for your app\">", "<").replace('-', "");
        let secret = BASE32_NOPAD.decode(secret.as_bytes()).unwrap().try_into().unwrap();
        let mut device = Device { secret, first: String::new(), recovery_codes: Vec::new() };
        device.first = device.code(-1);
        let offer = page.between("name=\"offer\" value=\"", "\"");
        // The one before: two more can be shown before half a minute has passed.
        let page = self.post("/portal/account/second-factor/confirm", &[("offer", &offer), ("code", &device.first)]).await;
        assert_eq!(page.status, 200, "{}", page.text);
        let codes = page.between("aria-label=\"Recovery codes\">", "</pre>");
        device.recovery_codes = codes.lines().map(str::to_owned).collect();
        self.keep(&page);
        device
    }

    /// The second half of signing in.
    pub(super) async fn send_code(&mut self, code: &str) -> Page {
        let page = self.post("/portal/sign-in/code", &[("code", code), ("next", "")]).await;
        if page.status == 303 {
            self.keep(&page);
        }
        page
    }

    pub(super) async fn sign_in(&mut self, password: &str) -> Page {
        let email = self.email.clone();
        let page = self.post("/portal/sign-in", &[("email", &email), ("password", password), ("next", "")]).await;
        if page.status == 303 {
            self.keep(&page);
        }
        page
    }

    /// Makes an application; its page.
    pub(super) async fn application(&self, name: &str) -> String {
        let team = self.get("/portal/applications").await.between("name=\"team\" value=\"", "\"");
        let page = self.post("/portal/applications", &[("name", name), ("team", &team)]).await;
        page.leads_to().split_once('?').unwrap().0.to_owned()
    }

    /// Makes a key with all scopes; its page and its secret.
    pub(super) async fn key(&self, application: &str, name: &str) -> (String, String) {
        let fields = [("name", name), ("environment", "live"), ("days", "30"), ("scope", "items:read"), ("scope", "items:write"), ("addresses", "")];
        let page = self.post(&format!("{application}/keys"), &fields).await;
        assert_eq!(page.status, 200, "{}", page.text);
        (page.between("id=\"stored\" href=\"", "\""), page.between("aria-label=\"The key\">", "<"))
    }
}
