use clap::Parser;

use super::TokensArgs;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    tokens: TokensArgs,
}

fn parses(args: &[&str]) -> bool {
    Line::try_parse_from([&["tokens"], args].concat()).is_ok()
}

#[test]
fn a_denial_says_whose_tokens_and_which() {
    for good in [
        &["deny", "accounts", "--token", "t-1"][..],
        &["deny", "accounts", "--subject", "alice"],
        &["deny", "accounts", "--subject", "alice", "--issued-until", "1h", "--lasts", "90d", "--json"],
        &["denied"],
        &["denied", "--issuer", "https://id.example"],
    ] {
        assert!(parses(good), "{good:?}");
    }
    for bad in [
        &["deny"][..],
        &["deny", "accounts"],
        &["deny", "accounts", "--token", "t", "--subject", "alice"],
        &["deny", "accounts", "--token", "t", "--issued-until", "1h"],
    ] {
        assert!(!parses(bad), "{bad:?}");
    }
}
