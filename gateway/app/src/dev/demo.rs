//! The demo service: a small API with a database of its own, one process in each region.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use axum::{
    Json, Router,
    body::Body,
    extract::{Path, Query, Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use store::{
    demo::{DemoDatabase, DemoError},
    pool::Credentials,
};

/// Where the demo service listens, and which database server it uses.
#[derive(Debug)]
pub struct Demo {
    /// Its address.
    pub listen: SocketAddr,
    /// The region it says it is in.
    pub region: String,
    /// `host:port` of the region's database server.
    pub database: String,
    /// The role and database.
    pub credentials: Credentials,
}

#[derive(Clone)]
struct Service {
    region: Arc<str>,
    database: DemoDatabase,
}

/// Serves until `stop` resolves.
///
/// # Errors
/// When the port is taken or the address is malformed.
pub async fn serve(demo: Demo, stop: impl Future<Output = ()> + Send + 'static) -> Result<()> {
    let service = Service { region: Arc::from(demo.region.as_str()), database: DemoDatabase::connect(&demo.database, &demo.credentials, 20)? };
    let api = Router::new()
        .route("/items", get(list).post(create))
        .route("/items/{id}", get(item))
        .route("/eventual/items/{id}", get(item))
        .route("/eventual/region", get(region))
        .route("/echo", get(echo))
        .route("/finance/echo", get(echo))
        .route("/health/echo", get(echo))
        .route("/social/echo", get(echo))
        .route("/region", get(region))
        .route("/limited", get(greeting))
        .route("/slow", get(slow))
        .route("/bytes/{n}", get(bytes))
        .with_state(service);
    let listener = tokio::net::TcpListener::bind(demo.listen).await.with_context(|| format!("cannot listen on {}", demo.listen))?;
    axum::serve(listener, Router::new().nest("/demo/v1", api)).with_graceful_shutdown(stop).await?;
    Ok(())
}

#[derive(Deserialize)]
struct ListQuery {
    limit: Option<u32>,
}

async fn list(State(service): State<Service>, Query(query): Query<ListQuery>) -> Response {
    match service.database.list(query.limit.unwrap_or(50)).await {
        Ok(items) => Json(json!({ "items": items, "region": &*service.region })).into_response(),
        Err(error) => failed(&error),
    }
}

async fn item(State(service): State<Service>, Path(id): Path<i64>) -> Response {
    match service.database.get(id).await {
        Ok(Some(item)) => Json(item).into_response(),
        Ok(None) => {
            (StatusCode::NOT_FOUND, Json(json!({ "error": "no such item in this region's database", "region": &*service.region }))).into_response()
        }
        Err(error) => failed(&error),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewItem {
    name: String,
    quantity: i32,
}

async fn create(State(service): State<Service>, Json(new): Json<NewItem>) -> Response {
    match service.database.create(&new.name, new.quantity).await {
        Ok(item) => {
            let location = format!("/demo/v1/items/{}", item.id);
            (StatusCode::CREATED, [(header::LOCATION, location)], Json(item)).into_response()
        }
        Err(error) => failed(&error),
    }
}

fn failed(error: &DemoError) -> Response {
    tracing::warn!(error = error as &dyn std::error::Error, "the demo database failed");
    let text = match error {
        DemoError::ReadOnly => "this region's database is a standby and takes no writes",
        DemoError::Store(_) => "the demo database does not answer",
    };
    (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "error": text }))).into_response()
}

async fn echo(State(service): State<Service>, request: Request) -> Json<Value> {
    let mut headers = serde_json::Map::new();
    for (name, value) in request.headers() {
        let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
        match headers.get_mut(name.as_str()) {
            Some(Value::String(known)) => {
                known.push_str(", ");
                known.push_str(&text);
            }
            _ => drop(headers.insert(name.as_str().to_owned(), Value::String(text))),
        }
    }
    // The router sees the path below its prefix; people want the one that was sent.
    Json(json!({
        "method": request.method().as_str(),
        "path": format!("/demo/v1{}", request.uri().path()),
        "query": request.uri().query(),
        "headers": headers,
        "region": &*service.region,
    }))
}

async fn region(State(service): State<Service>) -> Json<Value> {
    Json(json!({ "region": &*service.region }))
}

async fn greeting(State(service): State<Service>) -> Json<Value> {
    Json(json!({ "message": "you are within the limit", "region": &*service.region }))
}

#[derive(Deserialize)]
struct SlowQuery {
    ms: Option<u64>,
}

async fn slow(Query(query): Query<SlowQuery>) -> Json<Value> {
    let ms = query.ms.unwrap_or(1_000).min(60_000);
    tokio::time::sleep(Duration::from_millis(ms)).await;
    Json(json!({ "waited_ms": ms }))
}

async fn bytes(Path(n): Path<u64>) -> Response {
    static PIECE: [u8; 16_384] = [b'a'; 16_384];
    let pieces = futures_util::stream::unfold(n, |left| async move {
        let take = left.min(16_384);
        let piece = PIECE.get(..usize::try_from(take).ok()?).filter(|piece| !piece.is_empty())?;
        Some((Ok::<_, std::io::Error>(Bytes::from_static(piece)), left - take))
    });
    ([(header::CONTENT_LENGTH, n.to_string()), (header::CONTENT_TYPE, "application/octet-stream".to_owned())], Body::from_stream(pieces))
        .into_response()
}
