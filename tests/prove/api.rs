//! A deployment as its users see it: the control API, and requests with a key.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::client::{self, Version};
use harness::dev::{Ready, RegionReady};
use harness::history::{Served, Sight};
use harness::wait;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

/// Polls of a key come no closer than this: a node turns an address away that is refused more than 50 times a second.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// The longest that one request may take before it counts as a failure of its own.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// A key that was issued.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Issued {
    pub(crate) id: String,
    pub(crate) secret: String,
}

/// An answer, read whole.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }

    /// The `code` of a problem document, or an empty text.
    pub(crate) fn code(&self) -> String {
        self.json().get("code").and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// The status with the problem code, for sentences.
    pub(crate) fn summary(&self) -> String {
        format!("{} {}", self.status, self.code())
    }
}

/// Looks at a key until it was settled.
#[derive(Debug, Default)]
pub(crate) struct Looks {
    /// How long that took; `None` when the time was over first.
    pub(crate) took: Option<Duration>,
    /// Every look that showed acceptance or refusal.
    pub(crate) sights: Vec<Sight>,
    /// The last look that showed neither, for sentences.
    pub(crate) odd: Option<String>,
}

/// A client of one deployment.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    client: reqwest::Client,
    ready: Ready,
}

impl Api {
    pub(crate) fn of(ready: &Ready) -> Result<Self> {
        Ok(Self { client: client::http(&ready.ca, Version::Http1)?, ready: ready.clone() })
    }

    /// The key that came with the deployment.
    pub(crate) fn first_key(&self) -> &str {
        &self.ready.api_key
    }

    /// Issues a key of the default application.
    pub(crate) async fn issue(&self, region: &RegionReady, name: &str) -> Result<Issued> {
        let url = format!("{}/v1/keys", region.control);
        let request = self.client.post(url).bearer_auth(&self.ready.operator_token).json(&json!({ "name": name }));
        let answer = whole(request).await?;
        ensure!(answer.status == 201, "issuing a key was answered {}: {}", answer.status, answer.body);
        serde_json::from_str(&answer.body).context("the issued key is malformed")
    }

    /// Revokes a key.
    pub(crate) async fn revoke(&self, region: &RegionReady, id: &str) -> Result<()> {
        let url = format!("{}/v1/keys/{id}/revoke", region.control);
        let answer = whole(self.client.post(url).bearer_auth(&self.ready.operator_token)).await?;
        ensure!(answer.status / 100 == 2, "revoking was answered {}: {}", answer.status, answer.body);
        Ok(())
    }

    /// Purges what is stored with a tag.
    pub(crate) async fn purge(&self, region: &RegionReady, tag: &str) -> Result<()> {
        let url = format!("{}/v1/cache/purge", region.control);
        let answer = whole(self.client.post(url).bearer_auth(&self.ready.operator_token).json(&json!({ "tags": [tag] }))).await?;
        ensure!(answer.status == 200, "purging was answered {}: {}", answer.status, answer.body);
        Ok(())
    }

    /// `GET` on a control listener with the operator's token.
    pub(crate) async fn control(&self, region: &RegionReady, path: &str) -> Result<Answer> {
        whole(self.client.get(format!("{}{path}", region.control)).bearer_auth(&self.ready.operator_token)).await
    }

    /// `POST` of JSON on a control listener with the operator's token.
    pub(crate) async fn post_control(&self, region: &RegionReady, path: &str, body: &Value) -> Result<Answer> {
        whole(self.client.post(format!("{}{path}", region.control)).bearer_auth(&self.ready.operator_token).json(body)).await
    }

    /// `POST` of JSON on a control listener, for an answer that may take longer than others.
    pub(crate) async fn post_control_within(&self, region: &RegionReady, path: &str, body: &Value, within: Duration) -> Result<Answer> {
        whole_within(self.client.post(format!("{}{path}", region.control)).bearer_auth(&self.ready.operator_token).json(body), within).await
    }

    /// `POST` of a form on a data listener.
    pub(crate) async fn post_form(&self, region: &RegionReady, path: &str, form: &str) -> Result<Answer> {
        let request = self.client.post(format!("{}{path}", region.data)).header("content-type", "application/x-www-form-urlencoded");
        whole(request.body(form.to_owned())).await
    }

    /// `GET` on a data listener with these header fields.
    pub(crate) async fn get_with(&self, region: &RegionReady, path: &str, fields: &[(&str, &str)]) -> Result<Answer> {
        let request = fields.iter().fold(self.client.get(format!("{}{path}", region.data)), |request, (name, value)| request.header(*name, *value));
        whole(request).await
    }

    /// `GET` on a data listener with a key.
    pub(crate) async fn get(&self, region: &RegionReady, path: &str, key: &str) -> Result<Answer> {
        whole(self.client.get(format!("{}{path}", region.data)).header("x-api-key", key)).await
    }

    /// `POST` of a body on a data listener with a key.
    pub(crate) async fn post(&self, region: &RegionReady, path: &str, key: &str, content_type: &str, body: &str) -> Result<Answer> {
        let request = self.client.post(format!("{}{path}", region.data)).header("x-api-key", key);
        whole(request.header("content-type", content_type).body(body.to_owned())).await
    }

    /// One look at a key through a region, on a route that never needs the database.
    pub(crate) async fn look(&self, region: &RegionReady, key: &str) -> Result<Served, String> {
        let answer = self.get(region, "/demo/v1/echo", key).await.map_err(|error| format!("{error:#}"))?;
        match (answer.status, answer.code().as_str()) {
            (200, _) => Ok(Served::Yes),
            (401, "credentials-invalid") => Ok(Served::No),
            _ => Err(format!("{} answered {}", region.name, answer.summary())),
        }
    }

    /// Looks until the key is `settled`, for at most `limit`, and then for `linger` more, to see whether that lasts.
    pub(crate) async fn settles(&self, region: &RegionReady, key: &str, settled: Served, limit: Duration, linger: Duration) -> Looks {
        let began = Instant::now();
        let mut looks = Looks::default();
        let mut next = began;
        let looking = wait::until("a settled key", limit + linger, async || {
            tokio::time::sleep_until(next).await;
            next = Instant::now() + LOOK_EVERY;
            let at = began.elapsed();
            match self.look(region, key).await {
                Ok(served) => {
                    looks.sights.push(Sight { began: at, served });
                    if served == settled && looks.took.is_none() {
                        // The answer's moment counts and not the question's: what a client sees is later.
                        looks.took = Some(began.elapsed());
                    }
                }
                Err(odd) => looks.odd = Some(odd),
            }
            looks.took.is_some_and(|took| began.elapsed() >= took + linger)
        })
        .await;
        if looking.is_err() && looks.took.is_some_and(|took| took > limit) {
            looks.took = None;
        }
        looks
    }

    /// Looks for as long as `duration`; a sentence when a look is not `expected`, or when none showed anything.
    pub(crate) async fn stays(&self, region: &RegionReady, key: &str, expected: Served, duration: Duration) -> Option<String> {
        let (other, word) = match expected {
            Served::Yes => (Served::No, "refused"),
            Served::No => (Served::Yes, "accepted"),
        };
        let looks = self.settles(region, key, other, duration, Duration::ZERO).await;
        match looks.took {
            Some(took) => Some(format!("{word} after {} ms", took.as_millis())),
            None if looks.sights.is_empty() => Some(format!("never answered: {}", looks.odd.unwrap_or_default())),
            None => None,
        }
    }
}

/// Sends and reads to the end.
async fn whole(request: reqwest::RequestBuilder) -> Result<Answer> {
    whole_within(request, ANSWER_WITHIN).await
}

async fn whole_within(request: reqwest::RequestBuilder, within: Duration) -> Result<Answer> {
    let response = request.timeout(within).send().await?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = response.text().await?;
    Ok(Answer { status, headers, body })
}
