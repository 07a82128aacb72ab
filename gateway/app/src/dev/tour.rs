//! The printed tour: commands that work when pasted.

use std::path::Path;

use model::secret::SecretText;

use crate::cli::admin::invitation_link;

/// What the tour needs to know.
#[derive(Debug)]
pub struct Tour<'a> {
    /// The program's own path.
    pub program: &'a Path,
    /// The CA file.
    pub ca: &'a Path,
    /// A first API key's file.
    pub key_file: &'a Path,
    /// The operator token's file.
    pub token_file: &'a Path,
    /// The code of the first operator of the pages.
    pub invitation: Option<&'a SecretText>,
    /// The deployment's folder.
    pub data: &'a Path,
    /// Data ports of both regions.
    pub data_ports: [u16; 2],
    /// Control ports of both regions.
    pub control_ports: [u16; 2],
    /// How long the start took, in milliseconds.
    pub took_ms: u128,
}

impl Tour<'_> {
    /// The text.
    pub fn text(&self) -> String {
        let [eu, us] = self.data_ports;
        let [eu_control, us_control] = self.control_ports;
        let (program, ca, key, token, data) =
            (self.program.display(), self.ca.display(), self.key_file.display(), self.token_file.display(), self.data.display());
        let control = format!("https://127.0.0.1:{eu_control}");
        // It makes one account, once.
        let first = self.invitation.map(|code| format!("  first operator     {}\n", invitation_link(&control, code))).unwrap_or_default();
        format!(
            r#"
Causeway is up: two regions, one PostgreSQL primary, one streaming standby ({took} ms).

  eu-west (writes)   https://127.0.0.1:{eu}   control https://127.0.0.1:{eu_control}
  us-east (reads)    https://127.0.0.1:{us}   control https://127.0.0.1:{us_control}
  developer portal   https://127.0.0.1:{eu_control}/portal/
{first}  files and logs     {data}

A five-minute tour: paste line by line into another terminal.

  # 0. where things are
  export CAUSEWAY_CONTROL=https://127.0.0.1:{eu_control} CAUSEWAY_CA={ca} CAUSEWAY_TOKEN="$(cat {token})"
  EU=https://127.0.0.1:{eu} US=https://127.0.0.1:{us} KEY="$(cat {key})"
  causeway() {{ {program} "$@"; }}
  call() {{ curl --silent --show-error --cacert {ca} "$@"; echo; }}

  # 1. call the demo service through each region
  call -H "x-api-key: $KEY" $EU/demo/v1/region
  call -H "x-api-key: $KEY" $US/demo/v1/eventual/region

  # 2. write through us-east: it travels to the primary's region, and comes back through the standby
  call -H "x-api-key: $KEY" -H 'content-type: application/json' -d '{{"name": "bridge", "quantity": 3}}' $US/demo/v1/items
  call -H "x-api-key: $KEY" $US/demo/v1/eventual/items/1

  # 3. issue a key in eu-west, use it in us-east within a second; revoke it, and see it refused within a second
  TOUR="$(causeway keys create --name tour)"
  sleep 1; call -i -H "x-api-key: $TOUR" $US/demo/v1/echo
  causeway keys revoke "${{TOUR:8:12}}"
  sleep 1; call -i -H "x-api-key: $TOUR" $US/demo/v1/echo

  # 4. exceed a limit: five requests a minute; the sixth answers 429
  for i in 1 2 3 4 5 6; do call -o /dev/null -w '%{{http_code}} %header{{ratelimit}}' -H "x-api-key: $KEY" $EU/demo/v1/limited; done

  # 5. send a bad body: 422, with a pointer to the mistake
  call -H "x-api-key: $KEY" -H 'content-type: application/json' -d '{{"name": "bridge", "quantity": -1}}' $EU/demo/v1/items

  # 6. read the access log
  causeway audit query

Ctrl-C stops everything.
"#,
            took = self.took_ms,
        )
    }
}
