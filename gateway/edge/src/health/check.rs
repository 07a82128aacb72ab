//! Asks one endpoint whether it is well. Another kind of check is another arm of [`ask`].

use std::io;

use http::{HeaderValue, Method, Request, header};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use model::{
    resilience::CheckDoc,
    structure::{Target, resilience::HealthCheck},
};
use tokio::{net::TcpStream, task::JoinSet};

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
    Http(#[source] hyper::Error),
    /// Another answer than the ones that mean well.
    #[error("the endpoint answered {0}")]
    Status(u16),
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
pub async fn ask(target: &Target, rule: &HealthCheck) -> Result<(), CheckError> {
    let asked = async {
        let stream = TcpStream::connect(&*target.address).await.map_err(CheckError::Connect)?;
        match rule.by {
            CheckDoc::Tcp => Ok(()),
            CheckDoc::Http => http(stream, target, rule).await,
        }
    };
    tokio::time::timeout(rule.timeout, asked).await.unwrap_or(Err(CheckError::Timeout))
}

async fn http(stream: TcpStream, target: &Target, rule: &HealthCheck) -> Result<(), CheckError> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(CheckError::Http)?;
    // Dropped with this function: the connection ends with the check.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let request = Request::builder()
        .method(Method::GET)
        .uri(format!("{}{}", target.base_path, rule.path))
        .header(header::HOST, rule.host.as_deref().unwrap_or(&target.authority))
        .header(header::USER_AGENT, HeaderValue::from_static("causeway-health"))
        .header(header::CONNECTION, HeaderValue::from_static("close"))
        .body(Empty::<&[u8]>::new())
        .map_err(CheckError::Question)?;
    let status = sender.send_request(request).await.map_err(CheckError::Http)?.status();
    let is_well = if rule.statuses.is_empty() { status.is_success() } else { rule.statuses.contains(&status.as_u16()) };
    if is_well { Ok(()) } else { Err(CheckError::Status(status.as_u16())) }
}
