use super::{Fsync, Upstream, binaries::parse_major, conf, percent};
use zeroize::Zeroizing;

#[test]
fn version_lines_of_packages_and_betas_are_read() {
    let cases = [
        ("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n", Some(15)),
        ("postgres (PostgreSQL) 17beta1\n", Some(17)),
        ("postgres (PostgreSQL) 9.6.24\n", Some(9)),
        ("postgres (EnterpriseDB) 15.1\n", None),
        ("", None),
    ];

    for (line, expected) in cases {
        assert_eq!(parse_major(line), expected, "{line:?}");
    }
}

#[test]
fn password_with_quotes_reaches_the_server_unchanged() {
    let upstream = Upstream { port: 1, stream_port: 2, password: Zeroizing::new(r"a'b\c".to_owned()) };

    let text = conf::text(5, Fsync::On, Some((&upstream, "s")));

    // libpq reads `a\'b\\c` as the password; the configuration file doubles each quote and backslash once more.
    assert!(text.contains(r"password=''a\\''b\\\\c''"), "{text}");
    assert!(text.contains("port=2 "), "streaming goes through the proxy's port");
}

#[test]
fn fsync_is_off_only_when_asked() {
    assert!(!conf::text(5, Fsync::On, None).contains("fsync = off"));
    assert!(conf::text(5, Fsync::Off, None).contains("fsync = off"));
}

#[test]
fn url_parts_with_reserved_characters_are_encoded() {
    assert_eq!(percent("p@ss/w:rd ü"), "p%40ss%2Fw%3Ard%20%C3%BC");
}
