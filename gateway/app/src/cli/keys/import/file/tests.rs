use serde_json::json;

use super::*;

fn listed(text: &str, format: FileFormat) -> (Value, Vec<String>) {
    let listed = read(text, format).unwrap();
    (Value::Array(listed.keys), listed.ignored)
}

fn fails(text: &str, format: FileFormat, with: &str) {
    let error = format!("{:#}", read(text, format).unwrap_err());
    assert!(error.contains(with), "{text:?}: {error}");
}

#[test]
fn columns_are_found_by_name_and_others_are_told() {
    let text = "\u{feff}Hash,id,scopes,tags,disabled\r\nab,1,read write,x,no\r\n\r\ncd,\"2, or \"\"two\"\"\",,,TRUE\r\n";
    let expected = json!([
        { "hash": "ab", "source_id": "1", "scopes": ["read", "write"], "disabled": false },
        { "hash": "cd", "source_id": "2, or \"two\"", "scopes": [], "disabled": true },
    ]);

    assert_eq!(listed(text, FileFormat::Csv), (expected, vec!["tags".to_owned()]));
    let spread = "id,hash,name\n1,ab,\"two\nlines\"\n2,cd,x";
    assert_eq!(listed(spread, FileFormat::Csv).0[0]["name"], "two\nlines");
    assert_eq!(listed(spread, FileFormat::Csv).0[1]["source_id"], "2");
}

#[test]
fn lines_of_json_are_keys() {
    let text = "{\"id\":7,\"hash\":\"ab\",\"scopes\":[\"read\"],\"rate_limit\":{\"per_second\":5},\"name\":null}\n\n{\"source_id\":\"b\",\"hash\":\"cd\",\"owner\":1}";
    let expected = json!([
        { "source_id": "7", "hash": "ab", "scopes": ["read"], "rate_limit": "{\"per_second\":5}" },
        { "source_id": "b", "hash": "cd" },
    ]);

    assert_eq!(listed(text, FileFormat::Jsonl), (expected, vec!["owner".to_owned()]));
}

#[test]
fn what_cannot_be_read_is_told_with_its_line_and_without_its_value() {
    for (text, with) in [
        ("", "no line with the names"),
        ("id,id\n1,2", "stands twice"),
        ("id,hash\n1", "line 2 has 1 values"),
        ("id,hash\n1,\"secret", "line 2: a quote is never closed"),
        ("id,hash\n1,\"secret\"x", "line 2: something follows"),
        ("id,name\n1,x", "no `hash`"),
        ("hash\nx", "no `id`"),
        ("id,hash,disabled\n1,ab,secret", "`disabled` is true or false"),
        ("id,source_id,hash\n1,2,ab", "stands twice"),
    ] {
        fails(text, FileFormat::Csv, with);
    }
    for (text, with) in [
        ("{\"id\":1", "line 1 is not JSON"),
        ("\n[1]", "line 2 is no object"),
        ("{\"id\":\"a\",\"hash\":1}", "`hash` is no text"),
        ("{\"id\":\"a\",\"hash\":\"b\",\"scopes\":1}", "`scopes` is of another kind"),
    ] {
        fails(text, FileFormat::Jsonl, with);
    }
    assert!(!format!("{:#}", read("id,hash,disabled\n1,ab,secret", FileFormat::Csv).unwrap_err()).contains("secret"));
}
