//! Reads what the node proves itself with to issuers that it asks about tokens.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result};
use edge::issuers::introspect::Client;

use crate::{
    boot,
    config::{IntrospectionClientConfig, SecretRef},
};

/// Loads the clients.
///
/// # Errors
/// When a secret cannot be read, or is of no use.
pub fn clients(config: &BTreeMap<String, IntrospectionClientConfig>) -> Result<HashMap<Box<str>, Client>> {
    config.iter().map(|(name, config)| Ok((name.as_str().into(), client(name, config)?))).collect()
}

fn client(name: &str, config: &IntrospectionClientConfig) -> Result<Client> {
    let what = format!("secret of the introspection client {name}");
    let secret = boot::secret(&what, &config.secret)?;
    Client::new(&config.id, &secret).with_context(|| format!("the {what} or its id is empty"))
}

/// Everything that can be said against the clients, by place in the node file.
pub(crate) fn mistakes(config: &BTreeMap<String, IntrospectionClientConfig>) -> Vec<(String, String)> {
    // A variable is set where the node runs, which need not be here.
    let is_elsewhere = |config: &IntrospectionClientConfig| matches!(&config.secret, SecretRef::Env(name) if boot::environment(name).is_none());
    let here = config.iter().filter(|(_, config)| !is_elsewhere(config));
    here.filter_map(|(name, config)| Some((format!("introspection_clients.{name}.secret"), format!("{:#}", client(name, config).err()?)))).collect()
}
