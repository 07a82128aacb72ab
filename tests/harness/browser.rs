//! A real browser: Debian's Chromium, driven through `ChromeDriver` as a person would use it, and axe-core over its pages.
//!
//! Everything that needs an element waits for it, so a test says what it does next and never how long that takes.
//! The client is our own: the library `fantoccini` would bring a second `http` and twenty packages beside it.

mod axe;
mod driver;
mod session;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use data_encoding::BASE64;
use serde::Deserialize;
use serde_json::{Value, json};

pub use self::axe::Violation;
use self::driver::Driver;
use self::session::{Answer, Session};
use crate::process::Process;
use crate::wait;

/// How long an element may be waited for.
const THERE_WITHIN: Duration = Duration::from_secs(10);

/// A browser with one window and a profile of its own. Its processes end with the value.
#[derive(Debug)]
pub struct Browser {
    // Before the driver, so that connections are closed first.
    session: Session,
    driver: Driver,
}

/// A key that does something else than to write a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// To the next element.
    Tab,
    /// To the one before: Shift and Tab.
    BackTab,
    /// Follows a link, presses a button, sends a form.
    Enter,
    /// Presses a button, checks a box.
    Space,
    /// Closes what is open.
    Escape,
    /// Upwards in a list.
    Up,
    /// Downwards in a list.
    Down,
}

/// The size of what a page is shown on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Screen {
    /// 375 by 812, as a phone has it: a page that does not speak of its viewport is laid out for a desktop and shrunk.
    Phone,
    /// 1280 by 800.
    Desktop,
}

/// Which colors a person prefers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Dark on light.
    Light,
    /// Light on dark.
    Dark,
}

/// A line of the console.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Line {
    /// `SEVERE`, `WARNING`, `INFO` or `DEBUG`.
    pub level: String,
    /// Who says it: `security` (such as the content security policy), `network`, `javascript`, `console-api`, ..
    pub source: String,
    /// What.
    pub message: String,
}

/// Why no page can be judged, if none can: a program or axe-core is missing.
pub fn obstacle() -> Option<String> {
    if let Some(missing) = ["chromium", "chromedriver"].into_iter().find(|name| driver::program(name).is_none()) {
        return Some(format!("{missing} is not installed"));
    }
    axe::package().err().map(|error| format!("no axe-core: {error:#}"))
}

impl Browser {
    /// Starts it. It trusts the servers at these addresses, as they show certificates of the CA in the PEM file `ca`, and no other.
    ///
    /// # Errors
    /// When a program is missing or does not start, or a server shows another certificate.
    pub async fn start(ca: &Path, sites: &[SocketAddr]) -> Result<Self> {
        let mut trusted = Vec::new();
        for site in sites {
            trusted.push(driver::key_of(*site, ca).await.with_context(|| format!("the browser cannot trust {site}"))?);
        }
        let driver = Driver::start().await?;
        let session = Session::start(driver.port, &driver.capabilities(&trusted)?).await?;
        let browser = Self { session, driver };
        browser.show_on(Screen::Desktop).await?;
        Ok(browser)
    }

    /// Opens a page and waits until it is loaded.
    ///
    /// # Errors
    /// When it cannot be loaded, or its server is not trusted; a status says nothing here.
    pub async fn goto(&self, url: &str) -> Result<()> {
        self.session.post("/url", &json!({ "url": url })).await?.done().with_context(|| format!("cannot open {url}"))?;
        // `ChromeDriver` is content with the page that warns of a certificate.
        let warning = self.script("return document.URL.startsWith('chrome-error:') ? document.body.innerText : null", &[]).await?;
        ensure!(warning.is_null(), "cannot open {url}: {warning}");
        Ok(())
    }

    /// Where it is.
    ///
    /// # Errors
    /// When the browser is gone.
    pub async fn url(&self) -> Result<String> {
        text_of(self.session.get("/url").await?.done()?)
    }

    /// The page as it stands now, scripts done.
    ///
    /// # Errors
    /// When the browser is gone.
    pub async fn source(&self) -> Result<String> {
        text_of(self.session.get("/source").await?.done()?)
    }

    /// Waits until there is an element.
    ///
    /// # Errors
    /// When there is none within ten seconds, or the selector is none.
    pub async fn wait_for(&self, selector: &str) -> Result<()> {
        self.early(selector, async || self.session.find(selector).await).await.map(drop)
    }

    /// What a person reads in an element.
    ///
    /// # Errors
    /// When there is none within ten seconds.
    pub async fn text(&self, selector: &str) -> Result<String> {
        let read = async |element: &str| self.session.get(&format!("{element}/text")).await;
        text_of(self.with(selector, read).await?)
    }

    /// Clicks an element, and waits for the page that this leads to. An option of a list is chosen in the same way.
    ///
    /// # Errors
    /// When none can be clicked within ten seconds.
    pub async fn click(&self, selector: &str) -> Result<()> {
        let click = async |element: &str| self.session.post(&format!("{element}/click"), &json!({})).await;
        self.with(selector, click).await.map(drop)
    }

    /// Writes into a field, in place of what is there.
    ///
    /// # Errors
    /// When none can be written into within ten seconds.
    pub async fn fill(&self, selector: &str, text: &str) -> Result<()> {
        let fill = async |element: &str| match self.session.post(&format!("{element}/clear"), &json!({})).await? {
            Answer::Done(_) => self.session.post(&format!("{element}/value"), &json!({ "text": text })).await,
            refused @ Answer::Refused { .. } => Ok(refused),
        };
        self.with(selector, fill).await.map(drop)
    }

    /// Presses keys one after another, wherever the focus is.
    ///
    /// # Errors
    /// When the browser is gone.
    pub async fn press(&self, keys: &[Key]) -> Result<()> {
        let mut strokes = Vec::new();
        for key in keys {
            let (code, shift) = key.code();
            strokes.extend(shift.then(|| stroke("keyDown", SHIFT)));
            strokes.extend([stroke("keyDown", code), stroke("keyUp", code)]);
            strokes.extend(shift.then(|| stroke("keyUp", SHIFT)));
        }
        self.strike(strokes).await
    }

    /// Writes letters wherever the focus is.
    ///
    /// # Errors
    /// When the browser is gone.
    pub async fn write(&self, text: &str) -> Result<()> {
        let mut letter = [0; 4];
        let mut strokes = Vec::new();
        for character in text.chars() {
            let letter = character.encode_utf8(&mut letter);
            strokes.extend([stroke("keyDown", letter), stroke("keyUp", letter)]);
        }
        self.strike(strokes).await
    }

    /// Runs the body of a function in the page, past its content security policy; a promise is awaited.
    ///
    /// # Errors
    /// When it throws, or takes longer than 30 seconds.
    pub async fn script(&self, body: &str, arguments: &[Value]) -> Result<Value> {
        self.session.post("/execute/sync", &json!({ "script": body, "args": arguments })).await?.done()
    }

    /// Judges the page: WCAG 2.2 at A and AA, and good practice.
    ///
    /// # Errors
    /// When axe-core cannot be had, or finds nothing to look at.
    pub async fn axe(&self) -> Result<Vec<Violation>> {
        let script = tokio::task::spawn_blocking(axe::script).await??;
        let found: axe::Found = serde_json::from_value(self.script(&script, &[]).await?)?;
        found.violations()
    }

    /// What the console says since it was last asked.
    ///
    /// # Errors
    /// When the browser is gone.
    pub async fn console(&self) -> Result<Vec<Line>> {
        Ok(serde_json::from_value(self.session.post("/se/log", &json!({ "type": "browser" })).await?.done()?)?)
    }

    /// Shows the page on another screen; stays for the pages that follow.
    ///
    /// # Errors
    /// When the browser is gone.
    pub async fn show_on(&self, screen: Screen) -> Result<()> {
        let (width, height, mobile) = match screen {
            Screen::Phone => (375, 812, true),
            Screen::Desktop => (1280, 800, false),
        };
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile });
        self.devtools("Emulation.setDeviceMetricsOverride", &metrics).await
    }

    /// Prefers other colors; stays for the pages that follow.
    ///
    /// # Errors
    /// When the browser is gone.
    pub async fn prefer(&self, scheme: Scheme) -> Result<()> {
        let value = match scheme {
            Scheme::Light => "light",
            Scheme::Dark => "dark",
        };
        self.devtools("Emulation.setEmulatedMedia", &json!({ "features": [{ "name": "prefers-color-scheme", "value": value }] })).await
    }

    /// Writes a picture of the window into a file, PNG.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn screenshot(&self, file: &Path) -> Result<()> {
        let picture = text_of(self.session.get("/screenshot").await?.done()?)?;
        std::fs::write(file, BASE64.decode(picture.as_bytes())?).with_context(|| format!("cannot write {}", file.display()))
    }

    /// Its processes, `ChromeDriver` first.
    ///
    /// # Errors
    /// When they have ended.
    pub fn processes(&self) -> Result<Vec<Process>> {
        self.driver.processes()
    }

    /// A command of the browser's own protocol.
    async fn devtools(&self, command: &str, parameters: &Value) -> Result<()> {
        self.session.post("/goog/cdp/execute", &json!({ "cmd": command, "params": parameters })).await?.done().map(drop)
    }

    async fn strike(&self, strokes: Vec<Value>) -> Result<()> {
        let actions = json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": strokes }] });
        self.session.post("/actions", &actions).await?.done().map(drop)
    }

    /// Finds an element and does something with it, both again for as long as it is too early for that.
    async fn with(&self, selector: &str, act: impl AsyncFn(&str) -> Result<Answer>) -> Result<Value> {
        let attempt = async || match self.session.find(selector).await? {
            Answer::Done(element) => act(&text_of(element)?).await,
            refused @ Answer::Refused { .. } => Ok(refused),
        };
        self.early(selector, attempt).await
    }

    async fn early(&self, selector: &str, attempt: impl AsyncFn() -> Result<Answer>) -> Result<Value> {
        let mut last = String::new();
        let probe = async || match attempt().await {
            Ok(Answer::Refused { error, message }) if session::is_early(&error) => {
                last = message;
                None
            }
            ended => Some(ended.and_then(Answer::done)),
        };
        match wait::some(&format!("`{selector}`"), THERE_WITHIN, probe).await {
            Ok((found, _)) => found.with_context(|| format!("`{selector}`")),
            Err(error) => bail!("{error} on {} ({last})", self.url().await.unwrap_or_default()),
        }
    }
}

/// Keys that are no letters have numbers of their own (W3C `WebDriver` §17.4.2).
const SHIFT: &str = "\u{E008}";

impl Key {
    /// Its number, and whether Shift is held.
    const fn code(self) -> (&'static str, bool) {
        match self {
            Self::Tab => ("\u{E004}", false),
            Self::BackTab => ("\u{E004}", true),
            Self::Enter => ("\u{E007}", false),
            Self::Space => (" ", false),
            Self::Escape => ("\u{E00C}", false),
            Self::Up => ("\u{E013}", false),
            Self::Down => ("\u{E015}", false),
        }
    }
}

fn stroke(kind: &str, key: &str) -> Value {
    json!({ "type": kind, "value": key })
}

fn text_of(value: Value) -> Result<String> {
    match value {
        Value::String(text) => Ok(text),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            bail!("the browser answers {value} in place of a text")
        }
    }
}
