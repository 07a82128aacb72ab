//! The rules that a reader of the tree may rely on, each with a sentence when it is broken.
//!
//! A rule is a plain function from text to sentences; it is tested on planted violations before it judges the tree.

mod documents;
mod manifest;
mod source;

use std::path::{Path, PathBuf};
use std::process::Command;

use model::problem::ProblemKind;

/// A file of the tree, by its path from the root.
struct File {
    path: String,
    text: String,
}

fn root() -> PathBuf {
    // The package is one directory below the root.
    Path::new(env!("CARGO_MANIFEST_DIR")).canonicalize().unwrap().parent().unwrap().to_owned()
}

/// All files below `dir` with this extension, what builds and tools leave behind excepted.
fn files(dir: &str, extension: &str) -> Vec<File> {
    let root = root();
    let mut found = Vec::new();
    let mut next = vec![root.join(dir)];
    while let Some(dir) = next.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                if name != "target" && !name.starts_with('.') {
                    next.push(path);
                }
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(File { path: path.strip_prefix(&root).unwrap().display().to_string(), text: std::fs::read_to_string(&path).unwrap() });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!found.is_empty(), "a rule that sees no file under {dir} proves nothing");
    found
}

fn assert_kept(broken: &[String]) {
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

/// Floors of ARCHITECTURE.md: a crate earns its place by what it must not import.
#[test]
fn no_crate_imports_what_its_floor_forbids() {
    let manifests = files("gateway", "toml");

    let broken: Vec<_> =
        manifests.iter().filter(|file| file.path.ends_with("/Cargo.toml")).flat_map(|file| manifest::broken_floors(&file.path, &file.text)).collect();

    assert_kept(&broken);
}

#[test]
fn every_crate_keeps_the_workspaces_lints() {
    let mut manifests = files("gateway", "toml");
    manifests.extend(files("tests", "toml"));

    let broken: Vec<_> =
        manifests.iter().filter(|file| file.path.ends_with("Cargo.toml")).flat_map(|file| manifest::broken_lints(&file.path, &file.text)).collect();

    assert_kept(&broken);
}

/// One crypto provider, aws-lc-rs: `ring`, OpenSSL and `rsa` are compiled into nothing that runs on Linux.
#[test]
fn no_second_crypto_provider_is_compiled_for_linux() {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--workspace", "--all-features", "--edges", "normal,build", "--prefix", "none"])
        .args(["--target", "x86_64-unknown-linux-gnu", "--format", "{p}", "--locked", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).unwrap();

    assert!(tree.contains("aws-lc-rs v") && tree.contains("quinn v"), "the tree is not what it should be:\n{tree}");
    assert_kept(&manifest::foreign_crypto(&tree));
}

#[test]
fn no_rust_file_of_the_gateway_holds_sql() {
    let broken: Vec<_> = files("gateway", "rs")
        .iter()
        .filter(|file| !source::is_test(&file.path))
        .flat_map(|file| source::sql_in_rust(&file.path, &file.text))
        .collect();

    assert_kept(&broken);
}

#[test]
fn no_test_sleeps_or_is_ignored_or_should_panic() {
    let mut sources = files("gateway", "rs");
    sources.extend(files("tests", "rs"));

    let broken: Vec<_> = sources.iter().flat_map(|file| source::impatient(&file.path, &file.text)).collect();

    assert_kept(&broken);
}

#[test]
fn no_file_is_too_long_or_named_after_nothing() {
    let mut sources = files("gateway", "rs");
    sources.extend(files("tests", "rs"));

    let broken: Vec<_> = sources.iter().flat_map(|file| source::misshapen(&file.path, &file.text)).collect();

    assert_kept(&broken);
}

#[test]
fn every_problem_code_has_its_section_and_every_section_its_code() {
    let text = std::fs::read_to_string(root().join("docs/problems.md")).unwrap();
    let codes: Vec<&str> = ProblemKind::ALL.iter().map(|kind| kind.code()).collect();

    assert_kept(&documents::undocumented(&codes, &text));
}
