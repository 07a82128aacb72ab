//! The files of a development deployment: secrets, certificates, node files, the gateway file.

use std::{
    fmt::Write as _,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use aws_lc_rs::rand::SecureRandom;

use crate::certs::{self, DevCertificates};

/// The regions, the writer first.
pub const REGIONS: [&str; 2] = ["eu-west", "us-east"];

/// Ports of one region.
#[derive(Debug, Clone, Copy)]
pub struct RegionPorts {
    /// Data listener.
    pub data: u16,
    /// Control listener.
    pub control: u16,
    /// Demo service.
    pub demo: u16,
    /// The region's PostgreSQL server.
    pub postgres: u16,
}

/// A deployment's folder.
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// Prepares the folder.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(root: &Path) -> Result<Self> {
        let root = std::path::absolute(root)?;
        fs::create_dir_all(&root).with_context(|| format!("cannot make the data folder {}", root.display()))?;
        for folder in ["secrets", "certs", "logs"].iter().chain(&REGIONS) {
            fs::create_dir_all(root.join(folder)).with_context(|| format!("cannot make {}", root.join(folder).display()))?;
        }
        fs::set_permissions(root.join("secrets"), fs::Permissions::from_mode(0o700))?;
        Ok(Self { root })
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// A region's node file.
    pub fn node_file(&self, region: &str) -> PathBuf {
        self.root.join(region).join("node.yaml")
    }

    /// A region's spool.
    pub fn spool(&self, region: &str) -> PathBuf {
        self.root.join(region).join("spool")
    }

    /// A secret of 64 hexadecimal digits, made when it is missing.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn secret(&self, name: &str) -> Result<String> {
        let path = self.root.join("secrets").join(name);
        if let Ok(text) = fs::read_to_string(&path) {
            return Ok(text.trim().to_owned());
        }
        let mut bytes = [0_u8; 32];
        aws_lc_rs::rand::SystemRandom::new().fill(&mut bytes).map_err(|_| anyhow::anyhow!("the random source failed"))?;
        let text = data_encoding::HEXLOWER.encode(&bytes);
        certs::private(&path, &text)?;
        Ok(text)
    }

    /// The development certificates.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn certificates(&self) -> Result<DevCertificates> {
        let hosts = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        certs::development(&self.path("certs"), &hosts, time::OffsetDateTime::now_utc())
    }

    /// Writes a region's node file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_node(&self, region: &str, ports: &[RegionPorts; 2]) -> Result<PathBuf> {
        let own = REGIONS.iter().position(|name| *name == region).and_then(|index| ports.get(index)).context("an unknown region")?;
        let mut servers = String::new();
        for (name, ports) in REGIONS.iter().zip(ports) {
            writeln!(servers, "  - {{ address: \"127.0.0.1:{}\", region: {name} }}", ports.postgres)?;
        }
        let text = format!(
            "# Written by `causeway dev`; written again at each start.\n\
             version: 1\n\
             node: {region}-1\n\
             region: {region}\n\
             data: {{ listen: \"127.0.0.1:{data}\", certificate: ../certs/server.pem, key: \"file:../certs/server.key\" }}\n\
             control: {{ listen: \"127.0.0.1:{control}\", certificate: ../certs/server.pem, key: \"file:../certs/server.key\" }}\n\
             database:\n  name: causeway\n  user: causeway\n  password: \"file:../secrets/causeway-password\"\n  servers:\n{servers}\
             domains:\n- {{ name: demo, database: demo, user: demo, password: \"file:../secrets/demo-password\" }}\n\
             spool: {{ dir: spool, max: 1GiB, segment: 16MiB }}\n\
             state: state\n\
             principal: {{ signing: dev-1, keys: [ {{ id: dev-1, key: \"file:../certs/principal.key\" }} ] }}\n\
             secrets:\n  peppers: [ {{ version: 1, key: \"file:../secrets/pepper-1\" }} ]\n  snapshot_key: \"file:../secrets/snapshot-key\"\n  access_tokens: {{ signing: dev-1, keys: [ {{ id: dev-1, key: \"file:../secrets/access-token-1\" }} ] }}\n  consistency_tokens: {{ signing: dev-1, keys: [ {{ id: dev-1, key: \"file:../secrets/consistency-token-1\" }} ] }}\n\
             log: text\n",
            data = own.data,
            control = own.control,
        );
        let path = self.node_file(region);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// Writes the gateway file and the demo service's API description.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write_gateway(&self, ports: &[RegionPorts; 2]) -> Result<PathBuf> {
        fs::write(self.path("demo.openapi.yaml"), include_str!("demo.openapi.yaml"))?;
        let mut text = include_str!("gateway.yaml").to_owned();
        for (name, ports) in REGIONS.iter().zip(ports) {
            text = text
                .replace(&format!("@data:{name}@"), &ports.data.to_string())
                .replace(&format!("@demo:{name}@"), &ports.demo.to_string())
                .replace(&format!("@postgres:{name}@"), &ports.postgres.to_string());
        }
        let path = self.path("gateway.yaml");
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}
