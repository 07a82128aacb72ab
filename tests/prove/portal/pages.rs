//! Every page is judged as it looks to people: with axe-core, in both schemes of colors, on a desktop and on a phone, and by what the
//! browser's console says.

use std::collections::BTreeSet;

use anyhow::Result;
use harness::browser::{Browser, Scheme, Screen};
use serde_json::Value;

/// Takes the labels of all fields away.
const UNLABEL: &str = "for (const label of document.querySelectorAll('label')) label.replaceWith(...label.childNodes); \
                       for (const field of document.querySelectorAll('input')) field.removeAttribute('placeholder');";

/// Whether a page is wider than its screen.
const IS_WIDE: &str = "return document.documentElement.scrollWidth > window.innerWidth";

pub(super) struct Judge<'b> {
    browser: &'b Browser,
    is_spoilt: bool,
    pages: BTreeSet<&'static str>,
    looks: usize,
    faults: Vec<String>,
}

impl<'b> Judge<'b> {
    pub(super) fn new(browser: &'b Browser, is_spoilt: bool) -> Self {
        Self { browser, is_spoilt, pages: BTreeSet::new(), looks: 0, faults: Vec::new() }
    }

    /// Judges the page that is open now.
    pub(super) async fn look(&mut self, page: &'static str) -> Result<()> {
        if self.is_spoilt {
            self.browser.script(UNLABEL, &[]).await?;
        }
        for screen in [Screen::Phone, Screen::Desktop] {
            self.browser.show_on(screen).await?;
            for scheme in [Scheme::Dark, Scheme::Light] {
                self.browser.prefer(scheme).await?;
                self.looks += 1;
                let found = self.browser.axe().await?.into_iter().filter(|found| matches!(found.impact.as_str(), "serious" | "critical"));
                self.faults.extend(found.map(|found| format!("{page} ({screen:?}, {scheme:?}): {} at {}", found.id, found.targets.join(", "))));
            }
            if self.browser.script(IS_WIDE, &[]).await? == Value::Bool(true) {
                self.faults.push(format!("{page} is wider than its screen ({screen:?})"));
            }
        }
        self.pages.insert(page);
        self.console(page).await
    }

    /// What the console complains of: violations of the policy, scripts that fail, files that are missing. That a page is a refusal is no
    /// complaint.
    async fn console(&mut self, page: &'static str) -> Result<()> {
        let is_refusal = matches!(page, "missing page" | "forbidden page" | "refused form");
        for line in self.browser.console().await? {
            if line.level == "SEVERE" && !(is_refusal && line.source == "network") {
                self.faults.push(format!("{page}: the console says {}", line.message));
            }
        }
        Ok(())
    }

    pub(super) fn pages(&self) -> usize {
        self.pages.len()
    }

    /// How many looks there were, and what was wrong.
    pub(super) fn verdict(&mut self) -> (usize, Vec<String>) {
        (self.looks, std::mem::take(&mut self.faults))
    }
}
