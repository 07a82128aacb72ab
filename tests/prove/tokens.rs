//! What the claims about tokens share: a node whose routes take them, and their issuers.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use harness::client::Version;
use harness::issuer::{Issuer, Signer};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::ground::{self, Ground, Service};
use crate::neighbor;

/// What every issuer signs with here.
pub(crate) const ALGORITHMS: [&str; 3] = ["ES256", "RS256", "EdDSA"];

/// A node with one token route.
pub(crate) struct Tokens {
    pub(crate) ground: Ground,
    pub(crate) issuers: Vec<Issuer>,
    port: u16,
    http: reqwest::Client,
    _service: JoinSet<()>,
}

/// What a token got: the status, and the problem without what differs from request to request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Got {
    /// The problem's code.
    pub(crate) fn code(&self) -> String {
        serde_json::from_str::<Value>(&self.body).ok().and_then(|body| Some(body.get("code")?.as_str()?.to_owned())).unwrap_or_default()
    }
}

impl Tokens {
    /// Starts a node and so many issuers, each of which publishes the keys that `keys` makes for it.
    pub(crate) async fn start(issuers: usize, keys: impl Fn(usize) -> Vec<Arc<Signer>>) -> Result<Self> {
        let (listener, port) = ground::listener().await?;
        let service = neighbor::service(listener);
        let ground = Ground::start("", &Self::document(port, &[]), "/open/ready").await?;
        let folder = Self::folder(&ground)?;
        let mut all = Vec::new();
        for number in 0..issuers {
            let keys = keys(number);
            let keys: Vec<&Signer> = keys.iter().map(|key| &**key).collect();
            all.push(Issuer::start(&folder.join("server.pem"), &folder.join("server.key"), &keys).await?);
        }
        let http = ground.door.client(Version::Http2)?;
        let tokens = Self { ground, issuers: all, port, http, _service: service };
        tokens.apply(&["api"]).await?;
        Ok(tokens)
    }

    fn folder(ground: &Ground) -> Result<PathBuf> {
        Ok(ground.dev.ready().ca.parent().context("the CA lies in no folder")?.to_owned())
    }

    /// Puts the issuers in force; an empty line behind the CA's text, more or less, is another way to the same keys.
    pub(crate) async fn apply(&self, audiences: &[&str]) -> Result<()> {
        let ca = std::fs::read_to_string(&self.ground.dev.ready().ca)?;
        self.ground.apply(&Self::document(self.port, &self.issuer_docs(audiences, &ca))).await?;
        // Every node of the deployment fetches for itself: a late one would be counted as somebody else's fetch.
        let nodes = self.ground.dev.ready().regions.len() as u64;
        let are_fetched = || self.issuers.iter().all(|issuer| issuer.fetches() >= nodes);
        let probe = async || are_fetched() && self.ask("not a token").await.is_ok_and(|got| got.status == 401);
        harness::wait::until("the issuers", std::time::Duration::from_secs(20), probe).await?;
        Ok(())
    }

    /// Has the node fetch every key set by a new way.
    pub(crate) async fn fetch_anew(&self, times: usize) -> Result<()> {
        let ca = std::fs::read_to_string(&self.ground.dev.ready().ca)?.repeat(times + 1);
        self.ground.apply(&Self::document(self.port, &self.issuer_docs(&["api"], &ca))).await
    }

    fn issuer_docs(&self, audiences: &[&str], ca: &str) -> Vec<Value> {
        let doc = |(number, issuer): (usize, &Issuer)| {
            json!({
                "name": format!("issuer-{number}"), "issuer": issuer.url(), "jwks": format!("{}/keys", issuer.url()), "audiences": audiences,
                "algorithms": ALGORITHMS, "application": "default", "ca": ca, "private_addresses": true,
            })
        };
        self.issuers.iter().enumerate().map(doc).collect()
    }

    fn document(port: u16, issuers: &[Value]) -> Value {
        let open = Service::new("open", port);
        let mut services = vec![open];
        if !issuers.is_empty() {
            let names: Vec<&Value> = issuers.iter().filter_map(|issuer| issuer.get("name")).collect();
            let mut token = Service::new("token", port);
            token.route = json!({ "auth": { "jwt": { "issuer": names } } });
            services.push(token);
        }
        let mut document = ground::document(&services);
        if let Some(members) = document.as_object_mut() {
            members.insert("issuers".to_owned(), json!(issuers));
            members.insert("consumers".to_owned(), json!([{ "name": "demo", "tenant": "demo" }]));
            members.insert("applications".to_owned(), json!([{ "name": "default", "consumer": "demo", "scopes": [] }]));
        }
        document
    }

    /// Asks with a token.
    pub(crate) async fn ask(&self, token: &str) -> Result<Got> {
        let request = self.http.get(format!("{}/token/x", self.ground.door.url())).header("authorization", format!("Bearer {token}"));
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        let mut body: Value = serde_json::from_slice(&answer.bytes().await?).unwrap_or_default();
        if let Some(members) = body.as_object_mut() {
            members.retain(|name, _| !matches!(name.as_str(), "request_id" | "instance"));
        }
        Ok(Got { status, body: body.to_string() })
    }

    /// How many tokens the node has refused for a reason.
    pub(crate) async fn refused(&self, reason: &str) -> Result<u64> {
        let region = self.ground.dev.writer()?;
        let text = self.http.get(format!("{}/metrics", region.control)).send().await?.text().await?;
        let name = format!("causeway_tokens_refused_total{{reason=\"{reason}\"}} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&name)).with_context(|| format!("no {name}"))?;
        Ok(line.parse()?)
    }
}
