//! The JSON Schema test suite through our own path: an `OpenAPI` document with the schema as a request body, compiled,
//! and each instance read by the bounded reader.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::*;

/// Files of the suite with groups that do not load, how many, what the load says, and why that is right.
const REFUSED: [(&str, usize, &str, &str); 7] = [
    ("refRemote", 15, "leads outside of this document", "nothing is fetched: a document says all of its rules itself"),
    ("ref", 1, "leads outside of this document", "the meta-schema is a remote document like any other"),
    ("defs", 1, "leads outside of this document", "the meta-schema is a remote document like any other"),
    ("dynamicRef", 20, "", "dynamic scopes over several `$id` are refused rather than read as static ones"),
    ("unevaluatedItems", 1, "`$dynamicRef` beside `$id`", "as above"),
    ("unevaluatedProperties", 1, "`$dynamicRef` beside `$id`", "as above"),
    ("vocabulary", 2, "dialect that is not supported", "a meta-schema of one's own is another language"),
];

/// Files of the suite with tests that we answer otherwise, how many, and why that is right.
const DIFFERENT: [(&str, usize, &str); 1] =
    [("format", 17, "the suite takes `format` for an annotation; a gateway that was told `date` checks dates")];

/// Files about formats of which we know only the name: an unknown format is an annotation.
const FORMATS_UNKNOWN: [&str; 2] = ["idn-email", "idn-hostname"];

struct Score {
    n_passed: usize,
    refused: BTreeSet<String>,
    different: BTreeSet<String>,
}

fn run(folder: &Path, openapi: &str) -> Score {
    let mut score = Score { n_passed: 0, refused: BTreeSet::new(), different: BTreeSet::new() };
    let mut files: Vec<_> = fs::read_dir(folder).expect("the folder is readable").flatten().collect();
    files.sort_by_key(fs::DirEntry::file_name);
    for file in files.iter().filter(|file| file.path().extension().is_some_and(|extension| extension == "json")) {
        let name = file.file_name().to_string_lossy().trim_end_matches(".json").to_owned();
        let content = fs::read_to_string(file.path()).expect("the file is readable");
        let groups: Vec<Value> = serde_json::from_str(&content).expect("the file is JSON");
        for group in &groups {
            let title = format!("{name}: {}", group["description"].as_str().unwrap_or_default());
            let mut schema = group["schema"].clone();
            // The suite's schemas are documents of their own; inside of ours they need a base for their `#`.
            if let Value::Object(keywords) = &mut schema {
                if openapi.starts_with("3.1") && !keywords.contains_key("$id") {
                    keywords.insert("$id".to_owned(), json!("https://suite.invalid/schema"));
                }
                if openapi.starts_with("3.0") {
                    keywords.shift_remove("$schema");
                }
            }
            let api = match Api::compile("suite", &body_document(openapi, &schema, &json!({}))) {
                Ok(api) => api,
                Err(errors) => {
                    score.refused.insert(format!("{title} -- {}", errors[0]));
                    continue;
                }
            };
            for test in group["tests"].as_array().into_iter().flatten() {
                let errors = check_body(&api, &test["data"].to_string());
                if errors.is_empty() == test["valid"].as_bool().unwrap_or_default() {
                    score.n_passed += 1;
                } else {
                    score.different.insert(format!("{title}: {} -- {errors:?}", test["description"]));
                }
            }
        }
    }
    score
}

/// The entries whose title starts with `file: `.
fn of_file<'s>(entries: &'s BTreeSet<String>, file: &str) -> Vec<&'s String> {
    entries.iter().filter(|entry| entry.split_once(": ").is_some_and(|(name, _)| name == file)).collect()
}

#[test]
fn the_json_schema_suite_passes_but_for_the_listed_exceptions() {
    let Some(folder) = vectors("json-schema") else { return println!("skipped: no vectors") };

    let score = run(&folder.join("draft2020-12"), "3.1.0");

    let (n_different, n_refused) = (score.different.len(), score.refused.len());
    println!("2020-12: {} passed, {n_different} differ, {n_refused} groups do not load", score.n_passed);
    for (file, n, part, _) in REFUSED {
        let entries = of_file(&score.refused, file);
        assert_eq!(entries.len(), n, "{file}: {entries:#?}");
        assert!(entries.iter().all(|entry| entry.contains(part)), "{entries:#?}");
    }
    for (file, n, _) in DIFFERENT {
        assert_eq!(of_file(&score.different, file).len(), n, "{:#?}", score.different);
    }
    assert_eq!(n_refused, REFUSED.iter().map(|(_, n, ..)| n).sum::<usize>(), "{:#?}", score.refused);
    assert_eq!(n_different, DIFFERENT.iter().map(|(_, n, _)| n).sum::<usize>(), "{:#?}", score.different);
    assert_eq!(score.n_passed, 1196);
}

#[test]
fn formats_that_are_known_are_checked_as_the_suite_says() {
    let Some(folder) = vectors("json-schema") else { return println!("skipped: no vectors") };

    let score = run(&folder.join("draft2020-12/optional/format"), "3.1.0");

    println!("formats: {} passed, {} differ", score.n_passed, score.different.len());
    let unknown: usize = FORMATS_UNKNOWN.iter().map(|file| of_file(&score.different, file).len()).sum();
    assert_eq!(score.different.len(), unknown, "{:#?}", score.different);
    assert!(score.refused.is_empty(), "{:#?}", score.refused);
    assert_eq!(score.n_passed, 708);
}

/// `OpenAPI` 3.0 has a part of draft 4: what of the draft 4 suite loads as 3.0 must be answered as the suite says.
#[test]
fn what_loads_as_openapi_3_0_is_answered_as_the_draft_4_suite_says() {
    let Some(folder) = vectors("json-schema") else { return println!("skipped: no vectors") };

    let score = run(&folder.join("draft4"), "3.0.3");

    println!("draft 4: {} passed, {} groups are not 3.0", score.n_passed, score.refused.len());
    assert!(score.different.is_empty(), "{:#?}", score.different);
    assert_eq!((score.n_passed, score.refused.len()), (385, 71));
}
