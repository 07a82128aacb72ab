//! The protocol: W3C `WebDriver`, which is JSON over HTTP.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use reqwest::Method;
use serde_json::{Value, json};

use crate::client;

/// How long one command may take; the browser gives up on a page before that.
const ANSWERS_WITHIN: Duration = Duration::from_mins(1);
/// Under this name an answer holds an element (W3C `WebDriver` §12.1).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// One session: the browser's only window.
#[derive(Debug)]
pub(super) struct Session {
    http: reqwest::Client,
    url: String,
}

/// What came of a command.
#[derive(Debug)]
pub(super) enum Answer {
    /// Its value.
    Done(Value),
    /// Why it could not be done.
    Refused {
        /// One of the protocol's words.
        error: String,
        /// For people.
        message: String,
    },
}

impl Answer {
    /// The value, where nothing else will do.
    pub(super) fn done(self) -> Result<Value> {
        match self {
            Self::Done(value) => Ok(value),
            Self::Refused { error, message } => bail!("{error}: {message}"),
        }
    }
}

/// Whether the same may be done a little later: the page is still being made, moved or replaced.
pub(super) fn is_early(error: &str) -> bool {
    matches!(error, "no such element" | "stale element reference" | "element not interactable" | "element click intercepted")
}

impl Session {
    /// Starts the browser.
    pub(super) async fn start(port: u16, capabilities: &Value) -> Result<Self> {
        client::install_provider();
        // It trusts nobody, and needs not: `ChromeDriver` speaks HTTP.
        let http = reqwest::Client::builder().tls_certs_only([]).no_proxy().timeout(ANSWERS_WITHIN).build()?;
        let mut session = Self { http, url: format!("http://127.0.0.1:{port}/session") };
        let made = session.call(Method::POST, "", Some(capabilities)).await?.done().context("the browser does not start")?;
        let id = made.get("sessionId").and_then(Value::as_str).context("a session without an id")?;
        session.url = format!("{}/{id}", session.url);
        Ok(session)
    }

    /// Reads something.
    pub(super) async fn get(&self, path: &str) -> Result<Answer> {
        self.call(Method::GET, path, None).await
    }

    /// Does something.
    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        self.call(Method::POST, path, Some(body)).await
    }

    /// Finds the first element by a CSS selector: the path of its commands.
    pub(super) async fn find(&self, selector: &str) -> Result<Answer> {
        let answer = self.post("/element", &json!({ "using": "css selector", "value": selector })).await?;
        let Answer::Done(found) = answer else { return Ok(answer) };
        let id = found.get(ELEMENT).and_then(Value::as_str).context("an element without an id")?;
        Ok(Answer::Done(Value::String(format!("/element/{id}"))))
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer> {
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await?;
        let is_done = response.status().is_success();
        let mut answer: Value = response.json().await?;
        let value = answer.get_mut("value").map(Value::take).context("an answer without a value")?;
        if !is_done {
            let word = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
            // Behind the first line stand the program's own addresses.
            let message = word("message").lines().next().unwrap_or_default().to_owned();
            return Ok(Answer::Refused { error: word("error").to_owned(), message });
        }
        Ok(Answer::Done(value))
    }
}
