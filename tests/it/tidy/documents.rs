//! Rules about documents.

/// Sentences for codes without a section, and for sections without a code. A section is a heading that is just the code.
pub(super) fn undocumented(codes: &[&str], text: &str) -> Vec<String> {
    let headings: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("## ")).map(|heading| heading.trim().trim_matches('`')).collect();
    let missing = codes
        .iter()
        .filter(|code| !headings.contains(code))
        .map(|code| format!("docs/problems.md has no section `## {code}`, but the product answers with it"));
    let stale = headings
        .iter()
        .filter(|heading| is_code(heading) && !codes.contains(heading))
        .map(|heading| format!("docs/problems.md explains `{heading}`, which the product never answers"));
    missing.chain(stale).collect()
}

/// Whether a heading names a problem and is not prose: lower case, digits and hyphens alone.
fn is_code(heading: &str) -> bool {
    heading.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

#[test]
fn planted_gaps_between_codes_and_sections_are_told() {
    let text = "# Problems\n\n## How to read this\n\n## `a-b`\n\n## c\n\n### d\n\n## gone\n";

    assert_eq!(undocumented(&["a-b", "c", "gone"], text), [""; 0]);
    let broken = undocumented(&["a-b", "c", "d"], text);
    assert_eq!(broken.len(), 2);
    assert!(broken[0].contains("no section `## d`"), "{broken:?}");
    assert!(broken[1].contains("`gone`"), "{broken:?}");
}
