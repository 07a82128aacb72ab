//! Requests between regions: a node that cannot reach a service hands the request to a gateway of the service's region (ADR 0038).
//!
//! The node that the client has called decides everything: who calls, limits, validation, which region. The other one, over a connection on
//! which both have proved who they are, sends the request to its own region's service and records that it did. It takes such requests from
//! gateways of other regions alone, and hands none on: a request crosses once.

use std::{net::IpAddr, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, request::Parts};
use model::{
    problem::{Denial, ProblemKind},
    structure::{Route, Structure, Upstream},
};

use crate::{
    authorize::Permit,
    certificate::CLIENT_CERT,
    consistency::own_writes::REQUIRE,
    current::Held,
    forward,
    head::Head,
    hops,
    intake::Intake,
    limit,
    principal::PRINCIPAL,
    refuse::Refused,
    region,
    route::Matched,
    runtime::{Core, Edge},
    serve::Answer,
    tls::Peer,
    trail::Trail,
    validate,
};

/// To the other gateway: what it cannot see in the request. From it: that the answer is the service's, or why there is none.
pub(crate) const CROSSING: HeaderName = HeaderName::from_static("causeway-crossing");
/// The answer is the service's.
const SERVED: HeaderValue = HeaderValue::from_static("served");
/// So many fields a gateway adds to a request at most.
pub(crate) const FIELDS_MAX: usize = 16;
/// What only a gateway may set towards a service, and the first one has set.
const KEPT: [HeaderName; 3] = [CLIENT_CERT, REQUIRE, PRINCIPAL];

/// What the gateway that the client has called says about a request.
#[derive(Debug, PartialEq, Eq)]
struct Said<'h> {
    /// Its region.
    from: &'h str,
    client: IpAddr,
    route: &'h str,
    service: &'h str,
}

impl<'h> Said<'h> {
    /// Reads what [`field`] has written. Names have nothing that would need quoting.
    fn parse(text: &'h str) -> Option<Self> {
        let mut members = text.split(", ");
        let mut next = |name: &str| members.next()?.strip_prefix(name)?.strip_prefix("=\"")?.strip_suffix('"');
        let said = Self { from: next("from")?, client: next("client")?.parse().ok()?, route: next("route")?, service: next("service")? };
        members.next().is_none().then_some(said)
    }
}

/// The field for the other gateway (a dictionary of RFC 9651).
pub(crate) fn field(edge: &Edge, client: &Peer, route: &Route, upstream: &Upstream) -> Option<HeaderValue> {
    let text = format!("from=\"{}\", client=\"{}\", route=\"{}\", service=\"{}\"", edge.region, client.address_text, route.name, upstream.name);
    HeaderValue::from_maybe_shared(Bytes::from(text)).ok()
}

/// Who a request comes from.
#[derive(Debug)]
pub(crate) enum Sender {
    /// The client.
    Client,
    /// Another region's gateway.
    Gateway(Crossed),
    /// Somebody who says so and does not prove it, or has lost the way.
    Doubtful(Denial),
}

impl Sender {
    /// It reads [`CROSSING`] of the answer.
    pub(crate) const fn is_told(&self) -> bool {
        match self {
            Self::Client => false,
            Self::Gateway(_) | Self::Doubtful(_) => true,
        }
    }

    /// What another gateway has handed over.
    pub(crate) const fn crossed(&self) -> Option<&Crossed> {
        match self {
            Self::Gateway(crossed) => Some(crossed),
            Self::Client | Self::Doubtful(_) => None,
        }
    }
}

/// A request that another region's gateway has decided over.
#[derive(Debug)]
pub(crate) struct Crossed {
    route: Box<str>,
    service: Box<str>,
    /// Who called the other gateway.
    pub(crate) client: Arc<Peer>,
    kept: HeaderMap,
}

/// What a gateway of a region says; `None` for whoever is none, or says nothing.
fn said<'h>(edge: &Edge, structure: &Structure, peer: &Peer, headers: &'h HeaderMap) -> Option<Said<'h>> {
    let certificate = peer.shown.certificate()?;
    let mut values = headers.get_all(CROSSING).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let said = Said::parse(value.to_str().ok()?)?;
    let forwarding = structure.forwarding.get(said.from)?;
    let holder = certificate.judge(&forwarding.authority, edge.clock.now()).ok()?;
    (*holder.application == *said.from).then_some(said)
}

/// Whether a request comes from a gateway. What that says about its client counts, and not what is made of the fields that trusted hops set.
pub(crate) fn is_from_gateway(edge: &Edge, peer: &Peer, headers: &HeaderMap) -> bool {
    let is_asked = peer.shown.certificate().is_some() && headers.contains_key(CROSSING);
    is_asked && edge.current.load().is_some_and(|snapshot| said(edge, &snapshot.structure, peer, headers).is_some())
}

/// Sees whether a request comes from another region's gateway: its certificate says so, and it says what it is about.
///
/// Doubtful are `certificate-not-asked` (421) where it says so and does not prove it, and `loop-detected`, where it says that it comes from
/// this region.
pub(crate) fn sender(edge: &Edge, snapshot: Option<&Held>, peer: &Peer, parts: &Parts) -> Sender {
    if !parts.headers.contains_key(CROSSING) {
        return Sender::Client;
    }
    // Not served as if its sender were the client: a gateway whose connection is older than what this node knows of it makes another one.
    let Some(said) = snapshot.and_then(|snapshot| said(edge, &snapshot.structure, peer, &parts.headers)) else {
        return Sender::Doubtful(misdirected());
    };
    if *said.from == *edge.region {
        let detail = "this region's gateways send requests for other regions to themselves; see `forwarding` of the regions";
        return Sender::Doubtful(Denial::new(ProblemKind::LoopDetected, detail));
    }
    // Its certificate stays in the record: it tells whose gateway this was.
    let client = Peer::new(said.client, peer.protocol, peer.tls.clone(), peer.shown.clone());
    let crossed = Crossed { route: said.route.into(), service: said.service.into(), client: Arc::new(client), kept: HeaderMap::new() };
    let kept = KEPT.into_iter().filter_map(|name| Some((name.clone(), parts.headers.get(name)?.clone()))).collect();
    Sender::Gateway(Crossed { kept, ..crossed })
}

/// Sends a request that was decided over elsewhere to this region's service.
///
/// # Errors
/// `region-unavailable` when this node does not know the route or the service, or the service is not here; `residency-mismatch`,
/// `loop-detected`, and those of [`forward::send`].
pub(crate) async fn respond(
    core: &Core,
    snapshot: &Held,
    mut head: Head,
    body: Intake,
    crossed: Crossed,
    trail: &mut Trail,
) -> Result<Answer, Denial> {
    let edge = &*core.edge;
    if head.wish.is_some() {
        return Err(no_websocket());
    }
    hops::check(&head, &snapshot.structure, &edge.region)?;
    let matched = Matched::named(snapshot, &head, &crossed.route).ok_or_else(|| unknown("route"))?;
    trail.matched(&matched)?;
    let route = matched.route();
    let upstream = route.services().find(|upstream| *upstream.name == *crossed.service).ok_or_else(|| unknown("service"))?;
    let body = validate::unchecked(route, body, edge.settings.stall_timeout).await?;
    let permit = Permit::crossed(matched, crossed.kept.get(PRINCIPAL).cloned());
    let target = region::here(&permit, upstream, &head, core, snapshot, trail)?;
    let travels = crossed.kept.into_iter().filter_map(|(name, value)| Some((name.filter(|name| *name != PRINCIPAL)?, value)));
    head.parts.headers.extend(travels);
    let admitted = limit::readmit(permit);
    let mut exchange = forward::send(&admitted, &target, head, body, core, trail).await?;
    exchange.response.headers_mut().insert(CROSSING, SERVED);
    Ok(Answer::Service(exchange, Bytes::new()))
}

/// A WebSocket is one connection from end to end; it does not go by way of another gateway.
pub(crate) fn no_websocket() -> Denial {
    Denial::new(ProblemKind::RegionUnavailable, "the service runs in other regions alone, and WebSockets do not go there by way of their gateways")
}

/// 421: the next connection may be another one's.
fn misdirected() -> Denial {
    let detail = "only gateways of other regions that this one knows may hand requests over, on connections that were asked for their certificate";
    Denial::new(ProblemKind::CertificateNotAsked, detail)
}

fn unknown(what: &str) -> Denial {
    Denial::new(ProblemKind::RegionUnavailable, format!("the gateway of the service's region does not know the {what} yet")).retry_after(1)
}

/// Tells the other gateway of a refusal: that it is not the service's answer, and whether the request may be sent again.
pub(crate) fn mark<B>(response: &mut Response<B>) {
    let Some(Refused { kind, is_retryable }) = response.extensions().get().copied() else { return };
    if let Some(value) = refused(kind, is_retryable) {
        response.headers_mut().insert(CROSSING, value);
    }
}

/// What the other gateway is told: the code, and whether the request may be sent again.
pub(crate) fn refused(kind: ProblemKind, is_retryable: bool) -> Option<HeaderValue> {
    let sent = if is_retryable { "" } else { ";sent" };
    HeaderValue::from_maybe_shared(Bytes::from(format!("refused=\"{}\"{sent}", kind.code()))).ok()
}

/// By which another gateway has ended a call of gRPC, in trailers of its own.
pub(crate) fn ended(trailers: &HeaderMap) -> Option<ProblemKind> {
    Some(refusal(trailers.get(CROSSING)?.to_str().ok()?)?.denial.kind)
}

/// Whether a connection has shown the certificate of another region's gateway: such a one carries the requests of many clients.
pub(crate) fn is_gateways(edge: &Edge, peer: &Peer) -> bool {
    let Some(certificate) = peer.shown.certificate() else { return false };
    let is_of = |structure: &Structure| {
        let judged = |authority| certificate.judge(authority, edge.clock.now()).is_ok();
        structure.forwarding.values().any(|forwarding| judged(&forwarding.authority))
    };
    edge.current.load().is_some_and(|snapshot| is_of(&snapshot.structure))
}

/// What an answer of another gateway is: the service's, or a refusal.
///
/// # Errors
/// What it refused by; `upstream-malformed` where the answer does not say what it is: whoever answered is no gateway of this deployment.
pub(crate) fn read(status: StatusCode, headers: &mut HeaderMap) -> Result<(), NotServed> {
    match (headers.remove(CROSSING), status) {
        (Some(value), _) if value == SERVED => Ok(()),
        (Some(value), _) => Err(value.to_str().ok().and_then(refusal).unwrap_or_else(|| strange().into())),
        // Said before anything was looked at, by whoever knows less than this node, or has come to know more.
        (None, StatusCode::MISDIRECTED_REQUEST) => Err(misdirected_here()),
        // The other one has no more room for fields than this one, and gets some more: what is too much is the client's.
        (None, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE) => {
            Err(Denial::new(ProblemKind::HeadersTooLarge, "the request has more header fields than a gateway takes").into())
        }
        (None, _) => Err(strange().into()),
    }
}

/// Why another gateway has not answered with what the service said.
#[derive(Debug)]
pub(crate) struct NotServed {
    pub(crate) denial: Denial,
    /// It does not take the connection for one of a gateway: another one may be.
    pub(crate) is_misdirected: bool,
}

impl From<Denial> for NotServed {
    fn from(denial: Denial) -> Self {
        Self { denial, is_misdirected: false }
    }
}

/// What a refusal by the gateway at the other end says here. What it has no reason to refuse by is not believed: clients would take it for
/// something that was found out about them.
#[expect(clippy::wildcard_enum_match_arm, reason = "a kind that is new says nothing until it is told here what it says")]
fn told(kind: ProblemKind, is_sent: bool) -> Option<NotServed> {
    match kind {
        ProblemKind::RegionUnavailable
        | ProblemKind::ResidencyMismatch
        | ProblemKind::LoopDetected
        | ProblemKind::UpstreamUnreachable
        | ProblemKind::UpstreamMalformed
        | ProblemKind::UpstreamTimeout
        | ProblemKind::CircuitOpen
        | ProblemKind::Overloaded
        | ProblemKind::BodyTooLarge
        | ProblemKind::HeadersTooLarge
        | ProblemKind::RequestMalformed
        | ProblemKind::PathInvalid
        | ProblemKind::UriTooLong
        | ProblemKind::RequestTimeout
        | ProblemKind::AuditUnavailable
        | ProblemKind::Internal
        | ProblemKind::NotReady => {
            let denial = Denial::new(kind, "a gateway of the service's region refused it, or got no answer from the service");
            Some(if is_sent { denial.maybe_processed() } else { denial.retry_after(1) }.into())
        }
        // It took this gateway for a client: it has sent nothing, and says only that a client would be refused again.
        ProblemKind::CertificateNotAsked => Some(misdirected_here()),
        ProblemKind::PeerLimited => Some(not_yet().into()),
        _ => None,
    }
}

fn misdirected_here() -> NotServed {
    NotServed { denial: not_yet(), is_misdirected: true }
}

fn not_yet() -> Denial {
    let detail =
        "the gateway of the service's region does not know this region's gateways by the certificate that was shown; another connection may help";
    Denial::new(ProblemKind::RegionUnavailable, detail).retry_after(1)
}

fn refusal(text: &str) -> Option<NotServed> {
    let (code, is_sent) = match text.strip_prefix("refused=\"")?.split_once('"')? {
        (code, "") => (code, false),
        (code, ";sent") => (code, true),
        _ => return None,
    };
    told(*ProblemKind::ALL.iter().find(|kind| kind.code() == code)?, is_sent)
}

fn strange() -> Denial {
    Denial::new(
        ProblemKind::UpstreamMalformed,
        "what answered in the service's region is not a gateway of this deployment, or does not know this region's gateways yet",
    )
    .maybe_processed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_gateway_says_is_read_as_it_was_written_and_nothing_else_is() {
        let said = Said::parse(r#"from="us-east", client="2001:db8::1", route="items-list", service="demo""#).unwrap();
        assert_eq!(said, Said { from: "us-east", client: "2001:db8::1".parse().unwrap(), route: "items-list", service: "demo" });
        for wrong in [
            "",
            r#"from="us-east", client="2001:db8::1", route="items-list""#,
            r#"from="us-east", client="nobody", route="items-list", service="demo""#,
            r#"client="2001:db8::1", from="us-east", route="items-list", service="demo""#,
            r#"from="us-east", client="2001:db8::1", route="items-list", service="demo", service="other""#,
            r#"from="us-east", client="2001:db8::1", route="items-list", service=demo"#,
        ] {
            assert_eq!(Said::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_answer_that_does_not_say_what_it_is_is_no_answer() {
        let read_of = |value: Option<&'static str>| {
            let mut headers: HeaderMap = value.into_iter().map(|value| (CROSSING, HeaderValue::from_static(value))).collect();
            let read = read(StatusCode::OK, &mut headers);
            assert!(headers.is_empty());
            read.map_err(|refused| (refused.denial.kind, refused.denial.is_retryable))
        };
        assert_eq!(read_of(Some("served")), Ok(()));
        let not_its_to_say = Some("refused=\"credentials-invalid\"");
        for strange in [None, Some("refused"), Some("refused=\"no-such-problem\""), Some("refused=\"overloaded\";other"), not_its_to_say] {
            assert_eq!(read_of(strange), Err((ProblemKind::UpstreamMalformed, false)), "{strange:?}");
        }
        for (denial, expected) in [
            (unknown("route"), (ProblemKind::RegionUnavailable, true)),
            (Denial::new(ProblemKind::UpstreamTimeout, "").maybe_processed(), (ProblemKind::UpstreamTimeout, false)),
            // A part of the body has left.
            (Denial::new(ProblemKind::RequestTimeout, "").maybe_processed(), (ProblemKind::RequestTimeout, false)),
            // The service has had the request, and answered something.
            (Denial::new(ProblemKind::UpstreamMalformed, "").maybe_processed(), (ProblemKind::UpstreamMalformed, false)),
            // Troubles of its own: another one may have none.
            (Denial::new(ProblemKind::AuditUnavailable, ""), (ProblemKind::AuditUnavailable, true)),
            (Denial::new(ProblemKind::AuditUnavailable, "").maybe_processed(), (ProblemKind::AuditUnavailable, false)),
            // It has taken this one for a client.
            (misdirected(), (ProblemKind::RegionUnavailable, true)),
            (Denial::new(ProblemKind::PeerLimited, ""), (ProblemKind::RegionUnavailable, true)),
        ] {
            let mut response = Response::new(());
            response.extensions_mut().insert(Refused { kind: denial.kind, is_retryable: denial.is_retryable });
            // Whatever a service has said before.
            response.headers_mut().insert(CROSSING, SERVED);
            mark(&mut response);
            let read = read(StatusCode::OK, response.headers_mut());
            let is_misdirected = denial.kind == ProblemKind::CertificateNotAsked;
            assert_eq!(
                read.map_err(|refused| ((refused.denial.kind, refused.denial.is_retryable), refused.is_misdirected)),
                Err((expected, is_misdirected))
            );
        }
        for (status, expected) in [(421, ProblemKind::RegionUnavailable), (431, ProblemKind::HeadersTooLarge), (401, ProblemKind::UpstreamMalformed)]
        {
            let read = read(StatusCode::from_u16(status).unwrap(), &mut HeaderMap::new());
            assert_eq!(read.map_err(|refused| (refused.denial.kind, refused.is_misdirected)), Err((expected, status == 421)));
        }
    }
}
