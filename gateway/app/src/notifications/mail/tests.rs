use model::time::UtcMicros;

use super::{super::letter::Letter, Mailer};
use crate::config::notifications::{SmtpConfig, SmtpTls};

fn mailer() -> Mailer {
    let config = SmtpConfig {
        host: "mail.example.com".to_owned(),
        port: 465,
        tls: SmtpTls::Required,
        user: None,
        password: None,
        from: "Döner <no-reply@example.com>".to_owned(),
        ca: None,
    };
    Mailer::new(&config).expect("a mailer")
}

fn formatted(subject: &str) -> String {
    let letter = Letter { subject: subject.to_owned(), text: "Grüße\n.\nend\n".to_owned() };
    let message = mailer().message("ntf_1", "bob@example.com".parse().expect("an address"), letter, UtcMicros(1_798_532_100_000_000));
    String::from_utf8(message.expect("a message").formatted()).expect("ASCII")
}

#[test]
fn fields_are_ascii_stable_and_say_that_nobody_wrote_it() {
    let text = formatted("Key Schlüssel ends");

    assert!(text.is_ascii(), "{text}");
    for part in [
        "Message-ID: <ntf_1@example.com>\r\n",
        "Auto-Submitted: auto-generated\r\n",
        "To: bob@example.com\r\n",
        "Subject: Key =?utf-8?b?U2NobMO8c3Nl",
    ] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
    assert!(text.lines().all(|line| line.len() <= 998), "RFC 5322 section 2.1.1");
}

/// A second line of defense: letters hold no line breaks in subjects, and the message would not take them either.
#[test]
fn line_break_in_a_subject_makes_no_field() {
    let text = formatted("x\r\nBcc: eve@example.com");
    let (head, _) = text.split_once("\r\n\r\n").expect("a head");

    assert!(!head.lines().any(|line| line.to_ascii_lowercase().starts_with("bcc")), "{head}");
}
