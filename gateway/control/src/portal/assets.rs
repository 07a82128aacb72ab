//! Styles, scripts and the icon: compiled in, and the same for everybody.

use std::sync::LazyLock;

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

/// A file, with the tag that tells it from others: computed once, at the first use of any.
struct Asset {
    name: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
    tag: HeaderValue,
}

static ASSETS: LazyLock<[Asset; 6]> = LazyLock::new(|| {
    [
        asset("portal.css", CSS, include_bytes!("../../assets/portal.css")),
        asset("portal.js", SCRIPT, include_bytes!("../../assets/portal.js")),
        asset("icon.svg", "image/svg+xml", include_bytes!("../../assets/icon.svg")),
        asset("htmx.js", SCRIPT, include_bytes!("../../assets/vendor/htmx.min.js")),
        asset("uplot.js", SCRIPT, include_bytes!("../../assets/vendor/uPlot.min.js")),
        asset("uplot.css", CSS, include_bytes!("../../assets/vendor/uPlot.min.css")),
    ]
});

fn asset(name: &'static str, kind: &'static str, bytes: &'static [u8]) -> Asset {
    let digest = BASE64URL_NOPAD.encode(fingerprint_plain(bytes).split_at(12).0);
    let tag = HeaderValue::try_from(format!("\"{digest}\"")).unwrap_or(HeaderValue::from_static("\"\""));
    Asset { name, kind, bytes, tag }
}

pub(super) async fn serve(Path(name): Path<String>, headers: HeaderMap) -> Result<Response, Refusal> {
    let asset = ASSETS.iter().find(|asset| asset.name == name).ok_or_else(|| Refusal::not_found("file"))?;
    let frame = [(header::CACHE_CONTROL, AN_HOUR), (header::ETAG, asset.tag.clone())];
    if headers.get(header::IF_NONE_MATCH).is_some_and(|known| *known == asset.tag) {
        return Ok((StatusCode::NOT_MODIFIED, frame).into_response());
    }
    Ok((frame, [(header::CONTENT_TYPE, HeaderValue::from_static(asset.kind))], asset.bytes).into_response())
}
