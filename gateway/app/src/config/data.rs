//! The node file's `data`: the listener for clients.

use std::{net::SocketAddr, path::PathBuf};

use ipnet::IpNet;
use model::host::HostPattern;
use serde::{Deserialize, Serialize};

use super::SecretRef;

/// The listener for clients.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// Address and port.
    pub listen: SocketAddr,
    /// The certificate chain, PEM, for clients that ask for no name of `certificates`.
    pub certificate: PathBuf,
    /// Its private key, PEM, by reference.
    pub key: SecretRef,
    /// Chains for certain names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<HostCertificate>,
    /// What clients get that ask for a name without a chain, or for none.
    #[serde(default)]
    pub unknown_host: UnknownHost,
    /// Balancers that say whose connections they pass on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyProtocolConfig>,
    /// Hops that say whose requests they pass on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_address: Option<ClientAddressConfig>,
    /// HTTP/3 beside the other versions; none when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http3: Option<Http3Config>,
}

/// Where HTTP/3 is spoken: over UDP, with the chains of the other versions.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http3Config {
    /// Address and port; those of `data.listen` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
    /// The port that clients are told, where another one leads here; the one of `listen` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advertised_port: Option<u16>,
}

/// Balancers that begin each connection with a PROXY header.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProxyProtocolConfig {
    /// Their addresses; they must send the header, and nobody else may.
    pub from: Vec<Network>,
    /// Whether the text form, version 1, is taken as well.
    #[serde(default)]
    pub version_1: Version1,
}

/// Whether version 1 of the PROXY protocol is taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Version1 {
    /// It is.
    Accept,
    /// The connection is closed.
    #[default]
    Refuse,
}

/// Hops that tell a request's client in a header field.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientAddressConfig {
    /// The field that they append to.
    pub field: ClientField,
    /// Their addresses.
    pub trusted: Vec<Network>,
}

/// A header field that names clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientField {
    /// `X-Forwarded-For`.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// An address range: `10.0.0.0/8`, `2001:db8::/32`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network(pub IpNet);

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let range = text.parse::<IpNet>().or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from));
        let range = range.map_err(|_| format!("`{text}` is not an address range: write one such as 10.0.0.0/8, 2001:db8::/32 or 10.0.0.7"))?;
        if range.trunc() == range {
            Ok(Self(range))
        } else {
            Err(format!("`{text}` has bits behind its prefix; `{}` is the range that holds it", range.trunc()))
        }
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.0.to_string()
    }
}

/// A chain for certain names.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostCertificate {
    /// Names, or `*.` and a name, which stands for one label in front of it.
    pub hosts: Vec<HostPattern>,
    /// The certificate chain, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM, by reference.
    pub key: SecretRef,
}

/// What clients get that ask for a name without a chain, or for none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownHost {
    /// The chain of `data.certificate`.
    #[default]
    Default,
    /// An alert.
    Refuse,
}

impl DataConfig {
    /// Says what is wrong: paths into the document, and sentences.
    pub(super) fn mistakes(&self, say: &mut impl FnMut(&str, String)) {
        if self.proxy_protocol.as_ref().is_some_and(|proxy| proxy.from.is_empty()) {
            say("data.proxy_protocol.from", "name the balancers that send the PROXY header, or leave `proxy_protocol` out".to_owned());
        }
        if self.client_address.as_ref().is_some_and(|client| client.trusted.is_empty()) {
            say("data.client_address.trusted", "name the hops that may say whose requests they pass on, or leave `client_address` out".to_owned());
        }
        if let Some(http3) = &self.http3 {
            if !cfg!(feature = "http3") {
                say("data.http3", "this program was built without HTTP/3: build it with `--features http3`, or leave `http3` out".to_owned());
            }
            if http3.listen.is_some_and(|address| address.port() == 0) || http3.advertised_port == Some(0) {
                say("data.http3", "clients must be told a port: name one that is not 0".to_owned());
            }
        }
        let mut named: Vec<&HostPattern> = Vec::new();
        for (index, own) in self.certificates.iter().enumerate() {
            let path = format!("data.certificates[{index}].hosts");
            if own.hosts.is_empty() {
                say(&path, "a chain needs at least one host that it is for".to_owned());
            }
            for host in &own.hosts {
                if named.contains(&host) {
                    say(&path, format!("`{host}` has two chains"));
                }
                named.push(host);
            }
        }
    }
}
