//! The demo services of the regions that `causeway dev` does not know: each reads its own region's standby.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use app::dev::demo::{self, Demo};
use edge::listener::Reserved;
use model::secret::SecretText;
use store::pool::{Credentials, Tls};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::wait;

/// How long a service may take to listen, and to end.
const WITHIN: Duration = Duration::from_secs(10);

/// All of them. They end with it.
#[derive(Debug)]
pub(super) struct Services {
    password: SecretText,
    is_over: watch::Sender<bool>,
    tasks: JoinSet<Result<()>>,
    ports: Vec<Reserved>,
}

impl Services {
    /// None yet, of a deployment in a folder.
    ///
    /// # Errors
    /// When it has no password for the services' database.
    pub(super) fn none(root: &Path) -> Result<Self> {
        let password = std::fs::read_to_string(root.join("secrets/demo-password")).context("the demo's password")?;
        let password = SecretText::new(password.trim().to_owned());
        Ok(Self { password, is_over: watch::Sender::new(false), tasks: JoinSet::new(), ports: Vec::new() })
    }

    /// Starts the service of a region that reads the server on `database`, and answers its port once it listens.
    ///
    /// # Errors
    /// When it does not come to listen.
    pub(super) async fn add(&mut self, region: &str, database: u16) -> Result<u16> {
        let port = super::reserve()?;
        let listen = port.address();
        let demo = Demo {
            listen,
            region: region.to_owned(),
            database: format!("127.0.0.1:{database}"),
            credentials: Credentials { name: "demo".to_owned(), user: "demo".to_owned(), password: self.password.clone(), tls: Tls::Plain },
        };
        let mut is_over = self.is_over.subscribe();
        self.tasks.spawn(demo::serve(demo, async move { drop(is_over.wait_for(|is_over| *is_over).await) }));
        let listens = async || TcpStream::connect(listen).await.is_ok();
        wait::until("a demo service", WITHIN, listens).await.with_context(|| format!("of {region}"))?;
        self.ports.push(port);
        Ok(listen.port())
    }

    /// Ends them, and what they still serve.
    pub(super) async fn stop(&mut self) {
        self.is_over.send_replace(true);
        drop(tokio::time::timeout(WITHIN, async { while self.tasks.join_next().await.is_some() {} }).await);
        self.tasks.abort_all();
    }
}
