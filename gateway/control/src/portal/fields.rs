//! The fields of a form: each at most once unless it is a list, none unknown.

use axum::extract::{FromRequest, Request};
use http::header;
use model::problem::{Denial, ProblemKind};

use crate::{body, refusal::Refusal, state::ControlState};

/// The largest form, in bytes: what the console sends travels encoded, which makes it up to three times as large.
const FORM_BYTES_MAX: usize = 256 << 10;

/// The fields of a form, taken one by one.
#[derive(Debug)]
pub(super) struct Fields {
    pairs: Vec<(String, String)>,
    wrong: Wrong,
}

/// What is wrong with which field. A page shows each beside its field.
#[derive(Debug, Default, Clone)]
pub(super) struct Wrong(Vec<(&'static str, String)>);

impl Wrong {
    /// The first mistake of a field.
    pub(super) fn of(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(field, _)| *field == name).map(|(_, text)| text.as_str())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One mistake alone.
    pub(super) fn one(name: &'static str, text: impl Into<String>) -> Self {
        Self(vec![(name, text.into())])
    }
}

impl FromRequest<ControlState> for Fields {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &ControlState) -> Result<Self, Refusal> {
        let mut kinds = request.headers().get_all(header::CONTENT_TYPE).iter();
        // Of two, which one counts would be for the reader to choose.
        let only = kinds.next().filter(|_| kinds.next().is_none()).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if !only.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(Denial::new(ProblemKind::ContentTypeUnsupported, "this is the address of a form").into());
        }
        let bytes = body::read(request, FORM_BYTES_MAX).await?;
        if std::str::from_utf8(&bytes).is_err() {
            return Err(Denial::new(ProblemKind::RequestMalformed, "the form cannot be read").into());
        }
        let pairs = url::form_urlencoded::parse(&bytes).into_owned().collect();
        Ok(Self { pairs, wrong: Wrong::default() })
    }
}

impl Fields {
    /// Takes a field; one that is absent is empty.
    pub(super) fn text(&mut self, name: &'static str) -> String {
        let mut values = self.list(name);
        if values.len() > 1 {
            self.refuse(name, "stands there twice");
        }
        values.pop().unwrap_or_default()
    }

    /// Takes a field of one line for people, of 1 to `max` characters.
    pub(super) fn line(&mut self, name: &'static str, max: usize) -> String {
        let text = self.text(name).trim().to_owned();
        if text.is_empty() {
            self.refuse(name, "is needed");
        } else if text.chars().count() > max {
            self.refuse(name, format!("may have at most {max} characters"));
        } else if text.chars().any(char::is_control) {
            self.refuse(name, "must stand on one line");
        }
        text
    }

    /// Takes every value of a field.
    pub(super) fn list(&mut self, name: &str) -> Vec<String> {
        let (taken, rest) = std::mem::take(&mut self.pairs).into_iter().partition(|(field, _)| field == name);
        self.pairs = rest;
        let taken: Vec<(String, String)> = taken;
        taken.into_iter().map(|(_, value)| value).collect()
    }

    /// Takes every field whose name begins so, without that beginning.
    pub(super) fn family(&mut self, prefix: &str) -> Vec<(String, String)> {
        let (taken, rest) = std::mem::take(&mut self.pairs).into_iter().partition(|(field, _)| field.starts_with(prefix));
        self.pairs = rest;
        let taken: Vec<(String, String)> = taken;
        taken.into_iter().filter_map(|(field, value)| Some((field.strip_prefix(prefix)?.to_owned(), value))).collect()
    }

    /// Notes a mistake.
    pub(super) fn refuse(&mut self, name: &'static str, text: impl Into<String>) {
        self.wrong.0.push((name, text.into()));
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// A field that the form does not have: then it was not our form.
    pub(super) fn finish(self) -> Result<Wrong, Refusal> {
        if self.pairs.is_empty() {
            return Ok(self.wrong);
        }
        Err(Denial::new(ProblemKind::RequestInvalid, "the form has a field that is not known here; open its page again").into())
    }
}
