//! axe-core, which finds what keeps people from using a page: fetched from npm once, beside what the build makes, and never without
//! its digest.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use aws_lc_rs::digest;
use data_encoding::BASE64;
use flate2::read::GzDecoder;
use serde::Deserialize;

/// Which one; a change of one is a change of both.
const VERSION: &str = "4.14.1";
/// SHA-512 of the package, as npm writes it down.
const DIGEST: &str = "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==";
/// The one file of the package that is used.
const FILE: &str = "package/axe.min.js";

/// WCAG 2.2 at A and AA, and what is good practice beside it. The size of targets is not asked by default.
const RUN: &str = r#"
const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22a", "wcag22aa", "best-practice"];
const options = { runOnly: { type: "tag", values: tags }, rules: { "target-size": { enabled: true } } };
return axe.run(document, options).then(found => ({
  passes: found.passes.length,
  violations: found.violations.map(rule => ({
    id: rule.id, impact: rule.impact || "", help: rule.help, targets: rule.nodes.map(node => node.target.join(" ")),
  })),
}));
"#;

/// What axe-core has against a page: one of its rules.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Violation {
    /// The rule, for instance `image-alt`.
    pub id: String,
    /// `minor`, `moderate`, `serious` or `critical`.
    pub impact: String,
    /// What should be done.
    pub help: String,
    /// Where: selectors of the elements.
    pub targets: Vec<String>,
}

/// What a run found.
#[derive(Debug, Deserialize)]
pub(super) struct Found {
    passes: u64,
    violations: Vec<Violation>,
}

impl Found {
    /// The violations, of a page that has something to look at.
    pub(super) fn violations(self) -> Result<Vec<Violation>> {
        ensure!(self.passes > 0 || !self.violations.is_empty(), "axe-core had nothing to look at");
        Ok(self.violations)
    }
}

/// The script that runs it over the page in the window.
pub(super) fn script() -> Result<String> {
    Ok(format!("{}\n{RUN}", unpack(&package()?)?))
}

/// The package, which is fetched when it is not there.
pub(super) fn package() -> Result<Vec<u8>> {
    let program = std::env::current_exe()?;
    let beside = program.parent().context("a program without a folder")?;
    // Test programs lie one folder deeper than others.
    let home = if beside.ends_with("deps") { beside.parent().unwrap_or(beside) } else { beside };
    let kept = home.join(format!("axe-core-{VERSION}.tgz"));
    if let Ok(bytes) = std::fs::read(&kept)
        && is_genuine(&bytes)
    {
        return Ok(bytes);
    }
    let folder = tempfile::tempdir_in(home)?;
    let bytes = std::fs::read(fetch(folder.path())?)?;
    ensure!(is_genuine(&bytes), "what npm gives as axe-core {VERSION} is something else");
    // Complete or not at all: others may look for it now.
    let next = folder.path().join("genuine");
    std::fs::write(&next, &bytes)?;
    std::fs::rename(next, kept)?;
    Ok(bytes)
}

fn fetch(folder: &Path) -> Result<PathBuf> {
    let output = Command::new("npm")
        .args(["pack", &format!("axe-core@{VERSION}"), "--silent", "--ignore-scripts", "--pack-destination"])
        .arg(folder)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .context("npm is not installed")?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "npm: {}", words.lines().next().unwrap_or("it failed without a word"));
    Ok(folder.join(format!("axe-core-{VERSION}.tgz")))
}

fn is_genuine(package: &[u8]) -> bool {
    BASE64.encode(digest::digest(&digest::SHA512, package).as_ref()) == DIGEST
}

/// Takes the file out of the package: an archive of blocks of 512 bytes, a head with name and size before each file (POSIX ustar).
fn unpack(package: &[u8]) -> Result<String> {
    let mut archive = Vec::new();
    GzDecoder::new(package).read_to_end(&mut archive)?;
    let mut rest = archive.as_slice();
    while let Some((head, behind)) = rest.split_at_checked(512) {
        let field = |from: usize, to: usize| head.get(from..to).and_then(|field| field.split(|byte| *byte == 0).next()).unwrap_or_default();
        let size = usize::from_str_radix(std::str::from_utf8(field(124, 136))?.trim(), 8).unwrap_or(0);
        if field(0, 100) == FILE.as_bytes() {
            return Ok(String::from_utf8(behind.get(..size).context("half a file")?.to_vec())?);
        }
        rest = behind.get(size.next_multiple_of(512)..).unwrap_or_default();
    }
    anyhow::bail!("the package has no {FILE}")
}
