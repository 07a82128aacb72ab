//! The request as the service gets it.

use std::{borrow::Cow, io::Write, sync::Arc};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version, header, uri::PathAndQuery};
use hyper::body::Body;
use model::{
    problem::Denial,
    signature::field::{SIGNATURE, SIGNATURE_INPUT},
    structure::{Route, Target},
    time::BootNanos,
};

use crate::{
    balance::fleet::Group, body::RequestBody, clock::Clock, crossing::CROSSING, fields, grpc, head::Head, principal::PRINCIPAL, refuse, tls::Peer,
    trail::Trail, transform,
};

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const DPOP: HeaderName = HeaderName::from_static("dpop");

/// A request that is ready for any of its targets.
#[derive(Debug)]
pub struct Message {
    head: Head,
    path: PathAndQuery,
    request_id: Arc<str>,
    client: Arc<Peer>,
    /// The client's credentials stay here.
    hides_credentials: bool,
    /// So do signatures of the request, on routes that take them: they are over what the client has sent, and whoever has them could send it again.
    hides_signatures: bool,
    /// ... except the token and its proof, where its issuer's tokens are for the services, too.
    forwards_token: bool,
    cookie: Option<HeaderValue>,
    /// A gateway says towards the service that the request came by, and in which version.
    via: HeaderValue,
    /// What `Host` says, unless it is the target's own name.
    host: Option<HeaderValue>,
    /// What the client has written there, with its port.
    client_authority: Option<HeaderValue>,
    /// When the client of a call stops waiting, if it has said so.
    ends: Option<BootNanos>,
    /// The `grpc-timeout` of the try that begins.
    timeout: Option<HeaderValue>,
    /// Who calls, for a service that asks: beside the head, where no rule about fields can reach it.
    principal: Option<HeaderValue>,
    /// What another region's gateway is told, where one is asked: then the request goes as the client has sent it.
    crossing: Option<HeaderValue>,
    /// The body; taken while an attempt runs.
    pub body: RequestBody,
}

impl Message {
    /// Turns the client's request into the one that the service gets.
    ///
    /// # Errors
    /// `internal`, when the rewritten path is not valid.
    pub fn new(route: &Route, head: Head, body: RequestBody, target: &Group, trail: &Trail) -> Result<Self, Denial> {
        let path = transform::path_and_query(route, &head)?;
        let host = transform::upstream_host(route, &head);
        let client_authority = if target.may_cross { transform::client_authority(&head) } else { None };
        let cookie = joined_cookies(&head.parts.headers);
        Ok(Self {
            ends: head.call.and_then(|call| call.ends(trail.started().boot)),
            timeout: None,
            principal: None,
            crossing: None,
            path,
            request_id: Arc::clone(trail.request_id()),
            client: Arc::clone(trail.peer()),
            // The key was for the gateway; a service that logs its headers must not learn it.
            hides_credentials: !route.auth.is_none(),
            hides_signatures: route.auth.takes_signature(),
            forwards_token: trail.forwards_token(),
            cookie,
            via: target.via.of(head.parts.version).clone(),
            host,
            client_authority,
            head,
            body,
        })
    }

    /// True for a call of gRPC.
    pub const fn is_call(&self) -> bool {
        self.head.call.is_some()
    }

    /// When the client of a call stops waiting, if it has said so.
    pub const fn ends(&self) -> Option<BootNanos> {
        self.ends
    }

    /// Begins a try: the service gets the time that is left of what the client gave.
    pub fn begin(&mut self, clock: Clock) {
        if let Some(ends) = self.ends {
            self.timeout = grpc::timeout_left(ends, clock.boot());
        }
    }

    /// Tells the service who calls.
    pub fn vouch(&mut self, principal: Option<HeaderValue>) {
        self.principal = principal;
    }

    /// Hides no field: what has to be hidden the gateway has taken out that the client called.
    pub const fn hide_nothing(&mut self) {
        (self.hides_credentials, self.hides_signatures) = (false, false);
    }

    /// Says whether the next try is made by way of another region's gateway, and what that one is told.
    pub fn cross(&mut self, crossing: Option<HeaderValue>) {
        self.crossing = crossing;
    }

    /// Takes the body for an attempt.
    pub fn take_body(&mut self) -> RequestBody {
        std::mem::replace(&mut self.body, RequestBody::Empty)
    }

    /// A copy with another body and one more field, for a service that only looks on. It does not tell who calls: what the service
    /// behind the original is told is for that one alone.
    #[must_use]
    pub fn shadow(&self, body: RequestBody, name: HeaderName, value: HeaderValue) -> Self {
        let mut head = self.head.clone();
        head.parts.headers.insert(name, value);
        Self {
            head,
            path: self.path.clone(),
            request_id: Arc::clone(&self.request_id),
            client: Arc::clone(&self.client),
            cookie: self.cookie.clone(),
            via: self.via.clone(),
            host: self.host.clone(),
            client_authority: None,
            timeout: self.timeout.clone(),
            principal: None,
            crossing: None,
            body,
            hides_credentials: self.hides_credentials,
            hides_signatures: self.hides_signatures,
            forwards_token: self.forwards_token,
            ends: self.ends,
        }
    }

    /// True for a request that changes nothing.
    pub fn is_read(&self) -> bool {
        self.head.is_read()
    }

    /// The method.
    pub const fn method(&self) -> &Method {
        &self.head.parts.method
    }

    /// True when it asks for a WebSocket.
    pub const fn is_handshake(&self) -> bool {
        self.head.wish.is_some()
    }

    /// True when sending it twice does no harm: its method is safe (RFC 9110 section 9.2.1) and it has no body.
    pub const fn is_repeatable(&self) -> bool {
        matches!(self.body, RequestBody::Empty) && matches!(*self.method(), Method::GET | Method::HEAD | Method::OPTIONS)
    }

    /// The head in the form of HTTP/1.1, for one target.
    pub fn http1_head(&self, target: &Target) -> Vec<u8> {
        let mut out = Vec::with_capacity(1_024 + self.principal.as_ref().map_or(0, HeaderValue::len));
        let mut put = |parts: &[&[u8]]| parts.iter().for_each(|part| out.extend_from_slice(part));
        put(&[self.method().as_str().as_bytes(), b" ", target.base_path.as_bytes(), self.target_path().as_bytes(), b" HTTP/1.1\r\nhost: "]);
        put(&[self.authority(target), b"\r\n"]);
        for (name, value) in &self.head.parts.headers {
            if self.travels(name) {
                put(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"]);
            }
        }
        if self.is_handshake() {
            put(&[b"connection: upgrade\r\nupgrade: websocket\r\n"]);
        }
        if let Some(cookie) = &self.cookie {
            put(&[b"cookie: ", cookie.as_bytes(), b"\r\n"]);
        }
        if let Some(timeout) = &self.timeout {
            put(&[b"grpc-timeout: ", timeout.as_bytes(), b"\r\n"]);
        }
        if let Some(principal) = &self.principal {
            put(&[b"causeway-principal: ", principal.as_bytes(), b"\r\n"]);
        }
        if let Some(crossing) = &self.crossing {
            put(&[b"causeway-crossing: ", crossing.as_bytes(), b"\r\n"]);
        }
        put(&[b"x-request-id: ", self.request_id.as_bytes(), b"\r\nx-forwarded-host: ", self.head.host.as_bytes()]);
        put(&[b"\r\nx-forwarded-proto: https\r\nvia: ", self.via.as_bytes(), b"\r\nx-forwarded-for: ", self.client.address_text.as_bytes(), b"\r\n"]);
        // Writing into a vector cannot fail.
        let written = self.write_framing(&mut out);
        debug_assert!(written.is_ok(), "a vector takes everything");
        out.extend_from_slice(b"\r\n");
        out
    }

    /// The request in the form of HTTP/2, for one target.
    pub fn http2_request(&self, target: &Target, body: RequestBody) -> Request<RequestBody> {
        let scheme = if target.reach.tls.is_some() { "https" } else { "http" };
        let path = self.target_path();
        let path = if target.base_path.is_empty() { path.into_owned() } else { format!("{}{path}", target.base_path) };
        let uri = Uri::builder().scheme(scheme).authority(self.authority(target)).path_and_query(path).build();
        let mut headers = HeaderMap::with_capacity(self.head.parts.headers.len() + 6);
        for (name, value) in &self.head.parts.headers {
            if self.travels(name) {
                headers.append(name, value.clone());
            }
        }
        let own = [
            (HeaderName::from_static("x-forwarded-host"), &*self.head.host),
            (HeaderName::from_static("x-forwarded-proto"), "https"),
            (HeaderName::from_static("x-forwarded-for"), &*self.client.address_text),
        ];
        for (name, text) in own {
            headers.extend(HeaderValue::from_str(text).ok().map(|value| (name, value)));
        }
        headers.extend(fields::unrepeated(&self.request_id).map(|id| (refuse::REQUEST_ID, id)));
        headers.extend(self.cookie.clone().map(|cookie| (header::COOKIE, cookie)));
        headers.extend(self.timeout.clone().map(|timeout| (grpc::TIMEOUT, timeout)));
        headers.extend(self.principal.clone().map(|principal| (PRINCIPAL, principal)));
        headers.extend(self.crossing.clone().map(|crossing| (CROSSING, crossing)));
        headers.append(header::VIA, self.via.clone());
        if let Some(length) = body.size_hint().exact().filter(|length| *length > 0 || !body.is_end_stream()) {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        let mut request = Request::new(body);
        *request.method_mut() = self.method().clone();
        *request.version_mut() = Version::HTTP_2;
        // The parts were checked when the document was compiled and when the request was read.
        debug_assert!(uri.is_ok(), "valid parts make a valid URI");
        *request.uri_mut() = uri.unwrap_or_default();
        *request.headers_mut() = headers;
        request
    }

    /// Path and query. Another gateway changes them itself.
    fn target_path(&self) -> Cow<'_, str> {
        match (&self.crossing, self.head.query()) {
            (None, _) => self.path.as_str().into(),
            (Some(_), None) => self.head.path().into(),
            (Some(_), Some(query)) => format!("{}?{query}", self.head.path()).into(),
        }
    }

    fn authority<'m>(&'m self, target: &'m Target) -> &'m [u8] {
        match (&self.crossing, &self.host) {
            (Some(_), _) => self.client_authority.as_ref().map_or(self.head.host.as_bytes(), HeaderValue::as_bytes),
            (None, Some(host)) => host.as_bytes(),
            (None, None) => target.authority.as_bytes(),
        }
    }

    fn write_framing(&self, out: &mut Vec<u8>) -> std::io::Result<()> {
        match self.body.size_hint().exact() {
            // A method whose requests usually have content says that there is none (RFC 9110 section 8.6).
            Some(0) if !matches!(*self.method(), Method::POST | Method::PUT | Method::PATCH) => Ok(()),
            Some(length) => write!(out, "content-length: {length}\r\n"),
            None => out.write_all(b"transfer-encoding: chunked\r\n"),
        }
    }

    /// Whether a field goes on as it came.
    fn travels(&self, name: &HeaderName) -> bool {
        let is_made_anew = matches!(*name, header::HOST | header::CONTENT_LENGTH | header::EXPECT) || *name == refuse::REQUEST_ID;
        // A proof goes where its token goes: without it, it proves nothing.
        let is_tokens = *name == header::AUTHORIZATION || *name == DPOP;
        let is_signed = self.hides_signatures && (*name == SIGNATURE || *name == SIGNATURE_INPUT);
        let is_hidden = is_signed || self.hides_credentials && (is_tokens && !self.forwards_token || *name == X_API_KEY);
        let is_replaced = self.cookie.is_some() && *name == header::COOKIE || self.timeout.is_some() && *name == grpc::TIMEOUT;
        !(is_made_anew || is_hidden || is_replaced)
    }
}

/// HTTP/2 clients may send one cookie a field; HTTP/1.1 knows a single field (RFC 9113 section 8.2.3).
fn joined_cookies(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut crumbs = headers.get_all(header::COOKIE).iter();
    crumbs.next().and(crumbs.next())?;
    let crumbs: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    HeaderValue::from_bytes(&crumbs.join(&b"; "[..])).ok()
}
