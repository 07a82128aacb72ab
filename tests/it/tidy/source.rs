//! Rules about Rust sources. They look at code with literals and comments taken out, or at the literals alone.

/// The longest file that a reader is asked to take in; about 400 is the aim.
const LINES_MAX: usize = 500;

/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 8] = ["common", "helper", "helpers", "manager", "misc", "types", "util", "utils"];

/// Where a delay is the fault that is made, a moment of a kill is drawn, or a destructor waits.
const MAY_SLEEP: [&str; 5] =
    ["tests/harness/browser/driver.rs", "tests/harness/fault.rs", "tests/harness/upstream.rs", "tests/harness/dev.rs", "tests/prove/audit_crash.rs"];

/// A source, taken apart.
struct Parts {
    /// The code; each literal and comment is one space.
    code: String,
    /// The contents of string literals, with the line on which each begins.
    strings: Vec<(usize, String)>,
}

/// Whether a file holds tests alone, by the tree's convention.
pub(super) fn is_test(path: &str) -> bool {
    path.starts_with("tests/") || path.ends_with("/tests.rs") || path.contains("/tests/")
}

/// Sentences for string literals that are SQL.
pub(super) fn sql_in_rust(path: &str, text: &str) -> Vec<String> {
    take_apart(text)
        .strings
        .iter()
        .filter(|(_, literal)| is_sql(literal))
        .map(|(line, _)| format!("{path}:{line} holds SQL: put it into a file of gateway/store/queries"))
        .collect()
}

/// Sentences for tests that sleep, are ignored, or expect a panic.
pub(super) fn impatient(path: &str, text: &str) -> Vec<String> {
    let code = take_apart(text).code;
    let mut broken = Vec::new();
    let mut tell = |pattern: &str, sentence: &str| {
        for (at, line) in code.lines().enumerate() {
            if line.contains(pattern) {
                broken.push(format!("{path}:{} {sentence}", at + 1));
            }
        }
    };
    tell("#[ignore", "ignores a test: mend it or remove it");
    tell("#[should_panic", "expects a panic: assert on an error instead");
    if is_test(path) && !MAY_SLEEP.contains(&path) {
        tell("thread::sleep(", "sleeps: wait for a condition, with a deadline");
        tell("time::sleep(", "sleeps: wait for a condition, with a deadline");
    }
    broken
}

/// Sentences for files that are too long or whose name says nothing.
pub(super) fn misshapen(path: &str, text: &str) -> Vec<String> {
    let mut broken = Vec::new();
    let lines = text.lines().count();
    if lines > LINES_MAX {
        broken.push(format!("{path} has {lines} lines: more than {LINES_MAX} hide their parts, so split it"));
    }
    for part in path.split('/') {
        let name = part.strip_suffix(".rs").unwrap_or(part);
        if EMPTY_NAMES.contains(&name) {
            broken.push(format!("{path}: the name `{name}` says nothing about what is inside"));
        }
    }
    broken
}

/// Whether a literal is a statement: a verb at its start and the word that must follow it.
fn is_sql(literal: &str) -> bool {
    let words: Vec<String> =
        literal.split(|c: char| c.is_whitespace() || c == '(').filter(|word| !word.is_empty()).map(str::to_ascii_lowercase).collect();
    let Some((verb, rest)) = words.split_first() else {
        return false;
    };
    let next = rest.first().map_or("", String::as_str);
    let has = |word: &str| rest.iter().any(|found| found == word);
    let is_object = ["table", "index", "unique", "database", "schema", "role", "type", "function", "extension", "view"].contains(&next);
    match verb.as_str() {
        "select" => has("from") || literal.contains('('),
        "insert" | "merge" => next == "into",
        "delete" => next == "from",
        "update" => has("set"),
        "create" | "alter" | "drop" => is_object,
        "truncate" | "lock" => next == "table",
        "copy" => has("stdin") || has("stdout"),
        "with" => rest.get(1).is_some_and(|word| word == "as") && has("select"),
        "set" => next == "local" || next == "session",
        _ => false,
    }
}

/// Takes a source apart: line and block comments (nested), strings, byte and raw strings, characters.
fn take_apart(text: &str) -> Parts {
    let bytes: Vec<char> = text.chars().collect();
    let mut parts = Parts { code: String::with_capacity(text.len()), strings: Vec::new() };
    let at = |i: usize| bytes.get(i).copied().unwrap_or('\0');
    let mut i = 0;
    let mut line = 1;
    while i < bytes.len() {
        let from = i;
        match (at(i), at(i + 1)) {
            ('/', '/') => {
                while i < bytes.len() && at(i) != '\n' {
                    i += 1;
                }
            }
            ('/', '*') => i = end_of_comment(&bytes, i),
            ('r', '"' | '#') if !at(i.wrapping_sub(1)).is_alphanumeric() && raw_hashes(&bytes, i).is_some() => {
                let hashes = raw_hashes(&bytes, i).unwrap_or_default();
                let start = i + 2 + hashes;
                let end = (start..bytes.len()).find(|end| at(*end) == '"' && (1..=hashes).all(|k| at(end + k) == '#')).unwrap_or(bytes.len());
                parts.strings.push((line, bytes[start.min(end)..end].iter().collect()));
                i = end + 1 + hashes;
            }
            ('"', _) => {
                i += 1;
                let start = i;
                while i < bytes.len() && at(i) != '"' {
                    i += if at(i) == '\\' { 2 } else { 1 };
                }
                let end = i.min(bytes.len());
                parts.strings.push((line, bytes[start..end].iter().collect()));
                i += 1;
            }
            // A character, not a lifetime: 'x' or '\n'.
            ('\'', '\\') => {
                i += 2;
                while i < bytes.len() && at(i) != '\'' {
                    i += 1;
                }
                i += 1;
            }
            ('\'', _) if at(i + 2) == '\'' => i += 3,
            (c, _) => {
                parts.code.push(c);
                line += usize::from(c == '\n');
                i += 1;
                continue;
            }
        }
        // What was skipped is one space, with its line ends kept so that line numbers stay true.
        parts.code.push(' ');
        for _ in bytes[from..i.min(bytes.len())].iter().filter(|c| **c == '\n') {
            parts.code.push('\n');
            line += 1;
        }
    }
    parts
}

fn raw_hashes(bytes: &[char], at: usize) -> Option<usize> {
    let hashes = bytes[at + 1..].iter().take_while(|c| **c == '#').count();
    (bytes.get(at + 1 + hashes) == Some(&'"')).then_some(hashes)
}

fn end_of_comment(bytes: &[char], from: usize) -> usize {
    let mut depth = 0;
    let mut i = from;
    while i < bytes.len() {
        match (bytes[i], bytes.get(i + 1)) {
            ('/', Some('*')) => {
                depth += 1;
                i += 2;
            }
            ('*', Some('/')) => {
                depth -= 1;
                i += 2;
                if depth == 0 {
                    return i;
                }
            }
            _ => i += 1,
        }
    }
    i
}

#[test]
fn planted_sql_is_told_with_its_line_and_prose_is_not() {
    let sql = [
        "select 1 from t",
        "SELECT now()",
        "\\n  insert into t values (1)",
        "update t set a = 1",
        "delete from t",
        "create table t (a int)",
        "drop index i",
        "with a as (select 1) select a",
        "copy t from stdin",
        "set local lock_timeout",
    ];
    let prose = ["select a region first", "update the file", "create a key", "with care", "set the limit", "delete the key", "insert", ""];

    for text in sql {
        let source = format!("// select x from y\nlet a = 'b';\nlet q = \"{}\";", text.replace("\\n", "\n"));
        let broken = sql_in_rust("x.rs", &source);
        assert_eq!(broken, ["x.rs:3 holds SQL: put it into a file of gateway/store/queries"], "{text}");
    }
    for text in prose {
        assert_eq!(sql_in_rust("x.rs", &format!("let q = \"{text}\";")), [""; 0], "{text}");
    }
    assert_eq!(sql_in_rust("x.rs", "f(r#\"select \"a\" from b\"#)").len(), 1);
    assert_eq!(sql_in_rust("x.rs", "/* \"select a from b\" /* */ \"select a from b\" */").len(), 0);
}

#[test]
fn planted_sleeps_and_ignores_are_told_in_code_alone() {
    let cases = [
        ("tests/it/a.rs", "\nstd::thread::sleep(d)", 1),
        ("gateway/edge/src/pool/tests.rs", "tokio::time::sleep(d).await", 1),
        ("gateway/edge/src/pool.rs", "tokio::time::sleep(d).await", 0),
        ("tests/harness/fault.rs", "tokio::time::sleep(d).await", 0),
        ("gateway/edge/src/pool.rs", "#[ignore = \"slow\"]", 1),
        ("gateway/edge/src/pool.rs", "#[should_panic]", 1),
        ("tests/it/a.rs", "// thread::sleep( and \"#[ignore]\"\nlet a = \"#[ignore]\";", 0),
    ];

    for (path, text, n) in cases {
        assert_eq!(impatient(path, text).len(), n, "{path} {text}");
    }
    assert!(impatient("tests/it/a.rs", "\nstd::thread::sleep(d)")[0].starts_with("tests/it/a.rs:2 sleeps"));
}

#[test]
fn planted_long_file_and_empty_name_are_told() {
    assert_eq!(misshapen("gateway/a/src/b.rs", &"x\n".repeat(500)), [""; 0]);
    assert!(misshapen("gateway/a/src/b.rs", &"x\n".repeat(501))[0].contains("has 501 lines"));
    assert!(misshapen("gateway/a/src/utils.rs", "")[0].contains("`utils`"));
    assert!(misshapen("gateway/common/src/b.rs", "")[0].contains("`common`"));
}
