use clap::Parser;

use super::CacheArgs;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    cache: CacheArgs,
}

fn parses(args: &[&str]) -> bool {
    Line::try_parse_from([&["cache", "purge"], args].concat()).is_ok()
}

#[test]
fn a_purge_says_what_goes() {
    assert!(!parses(&[]), "everything is not asked for by saying nothing");
    for good in [&["--tag", "a"][..], &["--tag", "a", "--tag", "b"], &["--route", "r"], &["--tenant", "t"], &["--tag", "a", "--route", "r", "--json"]]
    {
        assert!(parses(good), "{good:?}");
    }
    for bad in [&["--tag", ""][..], &["--tag", "a,b"], &["--tag", "a b"], &["--tag", "ä"], &["a"]] {
        assert!(!parses(bad), "{bad:?}");
    }
}
