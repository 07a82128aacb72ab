//! Asks one endpoint whether it is well. Another kind of check is another arm of [`ask`].

use std::{io, sync::Arc};

use http::{Request, Version, header};
use model::{
    resilience::CheckDoc,
    structure::{Target, resilience::HealthCheck},
};
use tokio::net::TcpStream;

use super::grpc;
use crate::{
    body::RequestBody,
    connect::{Connector, Opened},
    http1::{Ask, Cause},
    tls::Identities,
};

pub(super) const AGENT: &str = "causeway-health";

/// Why an endpoint is not well.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The answer did not come in time.
    #[error("the check took too long")]
    Timeout,
    /// No connection.
    #[error("connecting failed")]
    Connect(#[source] io::Error),
    /// No HTTP.
    #[error("the exchange failed")]
    Exchange(#[source] Cause),
    /// Another answer than the ones that mean well.
    #[error("the endpoint answered {0}")]
    Status(u16),
    /// Another code of gRPC than `ok`; `not_found` for a service that it does not know.
    #[error("the endpoint answered {0}")]
    Code(&'static str),
    /// Another state than `SERVING`.
    #[error("the endpoint answered that it is in state {0}, which is not SERVING")]
    NotServing(u64),
    /// What came is no answer to the question.
    #[error("the answer is none of grpc.health.v1")]
    Answer,
    /// gRPC needs HTTP/2, and the endpoint chose HTTP/1.1.
    #[error("the endpoint does not speak HTTP/2")]
    Http1,
    /// The question cannot be written.
    #[error("the check's path or host is not valid")]
    Question(#[source] http::Error),
}

/// Asks on a connection of its own: a kept one would not show that new ones are taken.
///
/// # Errors
/// [`CheckError`].
///
/// # Cancel
/// Dropping the future closes the connection.
pub async fn ask(target: &Target, rule: &HealthCheck, identities: &Arc<Identities>) -> Result<(), CheckError> {
    let open = async || Connector::new(&target.address, &target.reach, identities).open().await.map_err(CheckError::Connect);
    let asked = async {
        match rule.by {
            CheckDoc::Tcp => TcpStream::connect(&*target.address).await.map(drop).map_err(CheckError::Connect),
            CheckDoc::Grpc => match open().await? {
                Opened::Http2(session) => grpc::ask(session, target, rule).await,
                Opened::Http1(_) => Err(CheckError::Http1),
            },
            CheckDoc::Http => http(open().await?, target, rule).await,
        }
    };
    tokio::time::timeout(rule.timeout, asked).await.unwrap_or(Err(CheckError::Timeout))
}

async fn http(opened: Opened, target: &Target, rule: &HealthCheck) -> Result<(), CheckError> {
    let host = rule.host.as_deref().unwrap_or(&target.authority);
    let path = format!("{}{}", target.base_path, rule.path);
    let asked = match opened {
        Opened::Http1(link) => {
            let head = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: {AGENT}\r\nconnection: close\r\n\r\n").into_bytes();
            let ask = Ask { head, body: RequestBody::Empty, is_head: false, may_switch: false };
            link.exchange(ask).await.map(|answer| answer.status)
        }
        Opened::Http2(session) => {
            let scheme = if target.reach.tls.is_some() { "https" } else { "http" };
            let request = Request::get(format!("{scheme}://{host}{path}"))
                .version(Version::HTTP_2)
                .header(header::USER_AGENT, AGENT)
                .body(RequestBody::Empty)
                .map_err(CheckError::Question)?;
            session.exchange(request).await.map(|response| response.status())
        }
    };
    let status = asked.map_err(|failure| CheckError::Exchange(failure.cause))?;
    let is_well = if rule.statuses.is_empty() { status.is_success() } else { rule.statuses.contains(&status.as_u16()) };
    if is_well { Ok(()) } else { Err(CheckError::Status(status.as_u16())) }
}
