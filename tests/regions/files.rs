//! The files of the testbed: the gateway document, node files and server settings, with real addresses.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::network::address;

/// Where each region's server listens.
pub(super) const POSTGRES_PORT: u16 = 5432;
/// Where each region's service listens.
pub(super) const SERVICE_PORT: u16 = 9000;
/// Where the nodes of a region listen.
pub(super) const DATA_PORTS: [u16; 2] = [8443, 8444];
pub(super) const CONTROL_PORTS: [u16; 2] = [9443, 9444];

/// A secret of the deployment.
pub(super) fn secret(root: &Path, name: &str) -> Result<String> {
    let text = std::fs::read_to_string(root.join("secrets").join(name)).with_context(|| format!("the secret {name}"))?;
    Ok(text.trim().to_owned())
}

/// The demo's document with these regions in place of its own.
///
/// # Errors
/// When it has another form.
pub(super) fn document(base: &str, names: &[&str]) -> Result<String> {
    let mut text = String::new();
    let mut found = 0;
    for line in base.lines() {
        let is_region = line.starts_with("- { name: ") && line.contains(", gateway: ");
        let is_server = line.starts_with("  - { address: \"127.0.0.1:");
        let is_target = line.starts_with("    eu-west: { targets:") || line.starts_with("    us-east: { targets:");
        let is_host = line.starts_with("  hosts: [");
        if !(is_region || is_server || is_target || is_host) {
            writeln!(text, "{line}")?;
            // A service that is cut off is silent, and so is a request to it: longer than its client waits, unless it is given up.
            if line == "  domain: demo" {
                writeln!(text, "  timeouts: {{ connect: 1s, response: 3s }}")?;
            }
            continue;
        }
        found += 1;
        if is_host {
            let hosts: Vec<String> = (0..names.len()).map(|region| address(region).to_string()).collect();
            writeln!(text, "  hosts: [ {} ]", hosts.join(", "))?;
            continue;
        }
        // All of them stand in place of the first.
        if !line.contains("eu-west") {
            continue;
        }
        for (region, name) in names.iter().enumerate() {
            let address = address(region);
            if is_region {
                writeln!(text, "- {{ name: {name} }}")?;
            } else if is_server {
                writeln!(text, "  - {{ address: \"{address}:{POSTGRES_PORT}\", region: {name} }}")?;
            } else {
                writeln!(text, "    {name}: {{ targets: [ \"http://{address}:{SERVICE_PORT}\" ] }}")?;
            }
        }
    }
    ensure!(found == 7, "the demo's document has another form: {found} of 7 lines were found");
    Ok(text)
}

/// The file of a region's node, in a folder beside `tls` and `secrets`.
pub(super) fn node(region: usize, number: u32, ports: [u16; 2], names: &[&str]) -> String {
    let name = names.get(region).copied().unwrap_or_default();
    let servers = names.iter().enumerate().map(|(at, name)| format!("  - {{ address: \"{}:{POSTGRES_PORT}\", region: {name} }}\n", address(at)));
    let servers: String = servers.collect();
    let [data, control] = ports.map(|port| format!("{}:{port}", address(region)));
    let certificate = "certificate: ../tls/server.pem, key: \"file:../tls/server.key\"";
    // All clients of a test come from one address, and ask for what is refused on purpose. Six nodes share two cores.
    format!(
        "version: 1\n\
         node: {name}-{number}\n\
         region: {name}\n\
         data: {{ listen: \"{data}\", {certificate} }}\n\
         control: {{ listen: \"{control}\", {certificate} }}\n\
         database:\n  name: causeway\n  user: causeway\n  password: \"file:../secrets/causeway-password\"\n  \
         tls: {{ ca: ../tls/ca.pem }}\n  servers:\n{servers}\
         domains:\n- {{ name: demo, database: demo, user: demo, password: \"file:../secrets/demo-password\", tls: {{ ca: ../tls/ca.pem }} }}\n\
         spool: {{ dir: spool-{number}, max: 1GiB, segment: 16MiB }}\n\
         state: state-{number}\n\
         principal: {{ signing: dev-1, keys: [ {{ id: dev-1, key: \"file:../certs/principal.key\" }} ] }}\n\
         secrets:\n  peppers: [ {{ version: 1, key: \"file:../secrets/pepper-1\" }} ]\n  snapshot_key: \"file:../secrets/snapshot-key\"\n  \
         access_tokens: {{ signing: dev-1, keys: [ {{ id: dev-1, key: \"file:../secrets/access-token-1\" }} ] }}\n  \
         consistency_tokens: {{ signing: dev-1, keys: [ {{ id: dev-1, key: \"file:../secrets/consistency-token-1\" }} ] }}\n\
         log: text\n\
         cores: 1\n\
         limits: {{ failures_per_prefix: 100000, handshakes_per_address: 10000 }}\n"
    )
}

/// Who may connect: the region's own service without TLS, everybody else with it.
pub(super) const HBA: &str = "\
host    all         all 127.0.0.1/32 scram-sha-256
hostssl all         all 10.77.0.0/16 scram-sha-256
hostssl replication all 10.77.0.0/16 scram-sha-256
";

/// What is said to a server behind the settings that it has from `causeway dev`; `follows` are the CA, the password and the slot of a standby.
pub(super) fn settings(follows: Option<(&Path, &str, &str)>) -> Result<String> {
    // No power is lost here.
    let mut text = format!(
        "\nlisten_addresses = '*'\nport = {POSTGRES_PORT}\nssl = on\nssl_cert_file = 'server.pem'\nssl_key_file = 'server.key'\n\
         fsync = off\nfull_page_writes = off\n"
    );
    if let Some((ca, password, slot)) = follows {
        // A line that drops what goes over it lets nobody wait for longer than this.
        let primary = format!(
            "host={} port={POSTGRES_PORT} user=postgres password={password} application_name={slot} sslmode=verify-full sslrootcert={} \
             connect_timeout=3 tcp_user_timeout=10000",
            address(0),
            ca.display()
        );
        writeln!(text, "primary_conninfo = '{primary}'\nprimary_slot_name = '{slot}'\nrecovery_target_timeline = 'latest'")?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_gets_the_regions_with_their_addresses_and_one_of_another_form_is_an_error() {
        let base = "- { name: eu-west, gateway: \"https://127.0.0.1:1\" }\n- { name: us-east, gateway: \"https://127.0.0.1:2\" }\n\
                    \n  - { address: \"127.0.0.1:3\", region: eu-west }\n  - { address: \"127.0.0.1:4\", region: us-east }\n  hosts: [ 127.0.0.1, localhost ]\n    \
                    eu-west: { targets: [ \"http://127.0.0.1:5\" ] }\n    us-east: { targets: [ \"http://127.0.0.1:6\" ] }\nroutes:\n";

        let text = document(base, &["eu-west", "us-east", "ap-south"]).unwrap();

        assert!(text.starts_with("- { name: eu-west }\n- { name: us-east }\n- { name: ap-south }\n") && text.ends_with("routes:\n"), "{text}");
        assert!(text.contains("    ap-south: { targets: [ \"http://10.77.3.1:9000\" ] }\n") && !text.contains("127.0.0.1"), "{text}");
        assert!(text.contains("  - { address: \"10.77.3.1:5432\", region: ap-south }\n  hosts: [ 10.77.1.1, 10.77.2.1, 10.77.3.1 ]\n"), "{text}");
        assert!(document("routes:\n", &["eu-west"]).is_err());
    }
}
