//! The routes of the claim, and the documents that say of a region what is not so.

use anyhow::{Context as _, Result, ensure};

/// What becomes of a read that no region's service may answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    /// The primary answers.
    Primary,
    /// It is refused.
    Refuse,
}

impl Route {
    pub(super) const ALL: [Self; 2] = [Self::Primary, Self::Refuse];

    /// In front of the service's own paths.
    pub(super) const fn path(self) -> &'static str {
        match self {
            Self::Primary => "/mine/primary",
            Self::Refuse => "/mine/refuse",
        }
    }
}

/// What is false in the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Falsehood {
    /// The region's server is said to be the one on this port, which has everything at once. The region's service reads another one.
    Server(u16),
    /// The region's service reads the server of the next one, too, and the document does not say so.
    OneOfSet,
}

/// The region about which it is.
const REGION: &str = "us-east";
/// Whose server its service reads, too.
const NEXT: &str = "ap-south";

/// The document with the routes of the claim.
///
/// # Errors
/// When the document has another form than the falsehood needs.
pub(super) fn with_routes(text: &str, falsehood: Option<Falsehood>) -> Result<String> {
    let mut text = match falsehood {
        None => text.to_owned(),
        Some(Falsehood::Server(port)) => edited(text, &format!("region: {REGION} }}"), |line| {
            line.starts_with("  - { address:").then(|| format!("  - {{ address: \"127.0.0.1:{port}\", region: {REGION} }}"))
        })?,
        Some(Falsehood::OneOfSet) => {
            let next = target(text, NEXT)?;
            let own = target(text, REGION)?;
            edited(text, &own, |line| Some(line.replace(&own, &format!("{own}, {next}"))))?
        }
    };
    for route in Route::ALL {
        let (name, path) = (route.path().trim_start_matches('/').replace('/', "-"), route.path());
        // A line takes 75 to 150 ms: one route waits for less than that now and then, the other one for more.
        let (wait, otherwise) = match route {
            Route::Primary => ("100ms", "primary"),
            Route::Refuse => ("300ms", "refuse"),
        };
        // This is not about the disk, which ten servers share: a record that is late would cost its call.
        let more = format!(
            "\n- name: {name}\n  match: {{ path: \"{path}/**\" }}\n  upstream: demo\n  rewrite: {{ strip_prefix: {path}, add_prefix: /demo/v1 }}\n  \
             audit: buffered\n  consistency:\n    keys: {{ max_staleness: 300s, on_stale: allow }}\n    \
             reads: {{ mode: read_your_writes, wait: {wait}, else: {otherwise} }}\n"
        );
        text.push_str(&more);
    }
    Ok(text)
}

/// The text with each line that has a part changed, where there is a change for it.
///
/// # Errors
/// When not exactly one line was changed.
pub(crate) fn edited(text: &str, part: &str, change: impl Fn(&str) -> Option<String>) -> Result<String> {
    let lines: Vec<String> =
        text.lines().map(|line| line.contains(part).then(|| change(line)).flatten().unwrap_or_else(|| line.to_owned())).collect();
    let changed = lines.iter().zip(text.lines()).filter(|(after, before)| after != before).count();
    ensure!(changed == 1, "{changed} lines of the document were changed");
    Ok(lines.join("\n") + "\n")
}

/// The targets of a region's service.
fn target(text: &str, region: &str) -> Result<String> {
    let start = format!("    {region}: {{ targets: [ ");
    let rest = text.lines().find_map(|line| line.strip_prefix(&start)).with_context(|| format!("{region} has no service; take three regions"))?;
    Ok(rest.split(" ]").next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "- { name: us-east }\n  - { address: \"127.0.0.1:1\", region: eu-west }\n  - { address: \"127.0.0.1:2\", region: us-east }\n    \
                        us-east: { targets: [ \"http://127.0.0.1:3\" ] }\n    ap-south: { targets: [ \"http://127.0.0.1:4\" ] }\nroutes:\n";

    #[test]
    fn each_falsehood_is_told_about_one_region_and_one_that_finds_nothing_is_an_error() {
        let told = |falsehood| with_routes(TEXT, Some(falsehood)).unwrap();

        assert!(
            told(Falsehood::Server(9))
                .contains("  - { address: \"127.0.0.1:1\", region: eu-west }\n  - { address: \"127.0.0.1:9\", region: us-east }\n")
        );
        assert!(told(Falsehood::OneOfSet).contains("    us-east: { targets: [ \"http://127.0.0.1:3\", \"http://127.0.0.1:4\" ] }\n    ap-south: {"));
        assert!(with_routes("routes:\n", Some(Falsehood::OneOfSet)).is_err() && with_routes("routes:\n", Some(Falsehood::Server(9))).is_err());
        assert!(with_routes(TEXT, None).unwrap().starts_with(TEXT));
    }
}
