use std::path::Path;

use annotate_snippets::Renderer;

use super::{Diagnostic, window};

#[test]
fn a_mistake_shows_file_line_column_caret_and_remedy() {
    let text = "version: 1\nroutes:\n- name: orders\n  upstraem: orders\n";
    let mistake =
        Diagnostic::at(Path::new("gateway.yaml"), text, (4, 3), "unknown field `upstraem`").with_help(Some("did you mean `upstream`?".to_owned()));

    let shown = mistake.render(&Renderer::plain());

    assert_eq!(
        shown,
        "\
error: unknown field `upstraem`
 --> gateway.yaml:4:3
  |
4 |   upstraem: orders
  |   ^^^^^^^^
  |
  = help: did you mean `upstream`?"
    );
}

#[test]
fn a_mistake_without_a_place_names_the_file() {
    let shown = Diagnostic::about(Path::new("gone.yaml"), "cannot be read").render(&Renderer::plain());

    assert_eq!(shown, "error: gone.yaml: cannot be read");
}

#[test]
fn columns_count_characters_and_the_caret_ends_with_the_word() {
    let check = |line: &str, column: u64, marked: &str| {
        let (shown, span) = window(line, column);
        assert_eq!(&shown[span], marked, "{line}");
    };

    check("  name: größe, b", 9, "größe");
    check("größe: übel", 8, "übel");
    check("a: [x, y]", 8, "y");
    check("a:", 4, "");
    check("", 1, "");
}

#[test]
fn a_document_on_one_line_is_cut_around_the_place() {
    let line = format!("{{{}\"colour\": 1}}", "\"a\": 1, ".repeat(100_000));
    let column = u64::try_from(line.find("\"colour\"").unwrap()).unwrap() + 1;

    let (shown, span) = window(&line, column);
    let mistake = Diagnostic::at(Path::new("big.json"), &line, (1, column), "unknown field `colour`");
    let text = mistake.render(&Renderer::plain());

    assert!(shown.len() < 200);
    assert_eq!(&shown[span], "\"colour\"");
    assert!(text.contains(&format!("big.json:1:{column}")), "{text}");
    assert!(text.len() < 1_000, "{text}");
}
