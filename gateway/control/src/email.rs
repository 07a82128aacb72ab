//! Mail addresses, as far as their form tells.

/// Whether a text has the form of an address of the internet: visible ASCII, one `@`, a host with a dot. That somebody reads its mail is
/// for its owner to show.
pub fn is_address(text: &str) -> bool {
    let has_form = text
        .split_once('@')
        .is_some_and(|(name, host)| !name.is_empty() && host.contains('.') && !host.starts_with('.') && !host.ends_with('.') && !host.contains('@'));
    has_form && text.len() <= 254 && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::is_address;

    #[test]
    fn an_address_has_one_at_and_a_host_with_a_dot() {
        for good in ["a@b.c", "Ann.Bell+x@mail.example.com", "\"@example.com.a"] {
            assert!(is_address(good), "{good}");
        }
        let long = format!("{}@example.com", "a".repeat(250));
        for bad in ["", "a", "@b.c", "a@b", "a@.b", "a@b.", "a@b@c.d", "a b@c.d", "a@b.c\n", "é@b.c", &long] {
            assert!(!is_address(bad), "{bad}");
        }
    }
}
