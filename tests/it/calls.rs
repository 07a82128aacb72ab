//! Requests to a deployment under test, as its users make them.

use std::sync::{Arc, Weak};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::client::{self, Version};
use harness::dev::{Dev, Ready, RegionReady, Role};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;

/// The longest that one request may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

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
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }

    /// The `code` of a problem document, or an empty text.
    pub(crate) fn code(&self) -> String {
        self.json().get("code").and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// A client of one deployment; it keeps connections open.
#[derive(Debug, Clone)]
pub(crate) struct Calls {
    client: reqwest::Client,
    ready: Ready,
}

impl Calls {
    pub(crate) fn of(ready: &Ready) -> Result<Self> {
        Ok(Self { client: client::http(&ready.ca, Version::Http1)?, ready: ready.clone() })
    }

    /// The key that came with the deployment.
    pub(crate) fn first_key(&self) -> &str {
        &self.ready.api_key
    }

    /// The region with the primary.
    pub(crate) fn writer(&self) -> Result<&RegionReady> {
        self.ready.regions.iter().find(|region| region.role == Role::Writer).context("no writer")
    }

    /// `GET` on a data listener with a key.
    pub(crate) async fn get(&self, region: &RegionReady, path: &str, key: &str) -> Result<Answer> {
        whole(self.client.get(format!("{}{path}", region.data)).header("x-api-key", key)).await
    }

    /// `GET` on a control listener with the operator's token.
    pub(crate) async fn control(&self, region: &RegionReady, path: &str) -> Result<Answer> {
        whole(self.client.get(format!("{}{path}", region.control)).bearer_auth(&self.ready.operator_token)).await
    }

    /// `POST` on the writer's control listener with the operator's token.
    pub(crate) async fn change(&self, path: &str, body: Option<&Value>) -> Result<Answer> {
        let request = self.client.post(format!("{}{path}", self.writer()?.control)).bearer_auth(&self.ready.operator_token);
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        whole(request).await
    }

    /// Issues a key of the default application.
    pub(crate) async fn issue(&self, name: &str) -> Result<Issued> {
        let answer = self.change("/v1/keys", Some(&json!({ "name": name }))).await?;
        ensure!(answer.status == 201, "issuing a key was answered {}: {}", answer.status, answer.body);
        serde_json::from_str(&answer.body).context("the issued key is malformed")
    }

    /// The text of `/readyz?verbose` with its status.
    pub(crate) async fn readiness(&self, region: &RegionReady) -> Result<(u16, String)> {
        let answer = self.control(region, "/readyz?verbose").await?;
        Ok((answer.status, answer.body))
    }
}

/// Sends and reads to the end.
async fn whole(request: reqwest::RequestBuilder) -> Result<Answer> {
    let response = request.timeout(ANSWER_WITHIN).send().await?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = response.text().await?;
    Ok(Answer { status, headers, body })
}

/// One deployment for all tests that only add to it; it ends with the last one that holds it.
pub(crate) async fn shared() -> Arc<Dev> {
    static RUNNING: Mutex<Weak<Dev>> = Mutex::const_new(Weak::new());
    let mut running = RUNNING.lock().await;
    if let Some(dev) = running.upgrade() {
        return dev;
    }
    let dev = Arc::new(Dev::start().await.unwrap());
    *running = Arc::downgrade(&dev);
    dev
}
