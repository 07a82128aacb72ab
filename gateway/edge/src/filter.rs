//! What a route asks to be done to a message, from the request's head to the response's body. Off for most routes.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, header};
use model::{filter::CodingDoc, snapshot::Snapshot, structure::Route};

use crate::{
    body::ReplyBody,
    compress, cors,
    head::Head,
    limit::Admitted,
    route,
    runtime::Edge,
    trail::Trail,
    transform::{Changes, Facts},
};

/// What of a request is needed once its response is here.
#[derive(Debug)]
pub struct After {
    route: Arc<Route>,
    is_head: bool,
    origin: Option<HeaderValue>,
    coding: Option<CodingDoc>,
    changes: Changes,
}

impl After {
    /// Keeps what the response will need; `None` on a route that asks for nothing.
    pub fn new(route: &Arc<Route>, head: &Head) -> Option<Box<Self>> {
        let filters = route.filters.as_ref()?;
        let headers = &head.parts.headers;
        let coding = filters.compression.as_ref().and_then(|rules| compress::negotiate(headers, &rules.codings));
        Some(Box::new(Self {
            is_head: *head.method() == Method::HEAD,
            origin: filters.cors.as_ref().and_then(|_| headers.get(header::ORIGIN).cloned()),
            route: Arc::clone(route),
            coding,
            changes: Changes::default(),
        }))
    }

    /// Changes the fields of a response that the service made.
    pub fn change(&mut self, headers: &mut HeaderMap) {
        std::mem::take(&mut self.changes).apply(headers);
    }

    /// Does what concerns every response on the route, refusals among them: a page must be able to read why.
    pub fn finish(&self, mut response: Response<ReplyBody>) -> Response<ReplyBody> {
        let Some(filters) = &self.route.filters else { return response };
        if let Some(cors) = &filters.cors {
            cors::answer(cors, self.origin.as_ref(), response.headers_mut());
        }
        match &filters.compression {
            Some(rules) => compress::answer(rules, self.coding, self.is_head, response),
            None => response,
        }
    }
}

/// Makes the values that the response to an admitted request will get.
pub fn prepare(after: &mut After, admitted: &Admitted<'_>, edge: &Edge, trail: &Trail, head: &Head) {
    let rules = after.route.filters.as_ref().and_then(|filters| filters.response_fields.as_ref());
    if let Some(rules) = rules {
        after.changes = Changes::new(rules, &facts(admitted, edge, trail, head));
    }
}

/// Changes an admitted request's fields on its way to the service.
pub fn request(admitted: &Admitted<'_>, edge: &Edge, trail: &Trail, head: &mut Head) {
    let rules = admitted.permit().route().filters.as_ref().and_then(|filters| filters.request_fields.as_ref());
    if let Some(rules) = rules {
        Changes::new(rules, &facts(admitted, edge, trail, head)).apply(&mut head.parts.headers);
    }
}

fn facts<'f>(admitted: &'f Admitted<'_>, edge: &'f Edge, trail: &'f Trail, head: &'f Head) -> Facts<'f> {
    let permit = admitted.permit();
    Facts {
        route: permit.route(),
        principal: permit.principal(),
        request_id: trail.request_id(),
        region: &edge.region,
        client_address: trail.client_address(),
        host: &head.host,
    }
}

/// Answers a preflight of a route with CORS; `None` for every other request.
pub fn preflight(snapshot: &Snapshot, head: &Head, trail: &mut Trail) -> Option<Result<Response<Bytes>, model::problem::Denial>> {
    let matched = route::find_preflight(snapshot, head)?;
    let cors = matched.route().filters.as_ref()?.cors.as_ref()?;
    Some(trail.matched(&matched).map(|()| cors::preflight(matched.route(), cors, head)))
}
