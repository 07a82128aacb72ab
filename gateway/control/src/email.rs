//! Mail addresses, as far as their form tells.

/// Whether a text has the form of an address of the internet: one `@`, a host with a dot, nothing blank. That somebody reads its mail is
/// for its owner to show.
pub fn is_address(text: &str) -> bool {
    let has_form = text
        .split_once('@')
        .is_some_and(|(name, host)| !name.is_empty() && host.contains('.') && !host.starts_with('.') && !host.ends_with('.') && !host.contains('@'));
    has_form && text.len() <= 254 && !text.chars().any(|character| character.is_whitespace() || character.is_control())
}
