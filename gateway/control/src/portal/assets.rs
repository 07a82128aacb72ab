//! Styles, scripts and the icon: compiled in, and the same for everybody.

use axum::{
    extract::Path,
    response::{IntoResponse, Response},
};
use data_encoding::BASE64URL_NOPAD;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use model::key::fingerprint_plain;

use crate::refusal::Refusal;

/// Their names are not those of a version, so browsers ask again after a while.
const AN_HOUR: HeaderValue = HeaderValue::from_static("public, max-age=3600");

const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

fn found(name: &str) -> Option<(&'static str, &'static [u8])> {
    Some(match name {
        "portal.css" => (CSS, include_bytes!("../../assets/portal.css")),
        "portal.js" => (SCRIPT, include_bytes!("../../assets/portal.js")),
        "icon.svg" => ("image/svg+xml", include_bytes!("../../assets/icon.svg")),
        "htmx.js" => (SCRIPT, include_bytes!("../../assets/vendor/htmx.min.js")),
        "uplot.js" => (SCRIPT, include_bytes!("../../assets/vendor/uPlot.min.js")),
        "uplot.css" => (CSS, include_bytes!("../../assets/vendor/uPlot.min.css")),
        _ => return None,
    })
}

pub(super) async fn serve(Path(name): Path<String>, headers: HeaderMap) -> Result<Response, Refusal> {
    let (kind, bytes) = found(&name).ok_or_else(|| Refusal::not_found("file"))?;
    let tag = format!("\"{}\"", BASE64URL_NOPAD.encode(fingerprint_plain(bytes).split_at(12).0));
    let tag = HeaderValue::try_from(tag).map_err(|_| Refusal::internal())?;
    let frame = [(header::CACHE_CONTROL, AN_HOUR), (header::ETAG, tag.clone())];
    if headers.get(header::IF_NONE_MATCH).is_some_and(|known| *known == tag) {
        return Ok((StatusCode::NOT_MODIFIED, frame).into_response());
    }
    Ok((frame, [(header::CONTENT_TYPE, HeaderValue::from_static(kind))], bytes).into_response())
}
