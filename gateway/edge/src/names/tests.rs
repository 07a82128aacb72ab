use super::*;

fn target(name: &str) -> Arc<Target> {
    Arc::new(Target { address: format!("{name}:80").into(), authority: name.into(), base_path: "/v1".into(), name: Some((name.into(), 80)) })
}

fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// What a name stands for after a look-up.
fn check(found: &[&str], expected: &[&str]) {
    let names = Names::default();
    names.learn("shop.internal", addresses(found).into_iter());
    let all = names.expand(&[target("shop.internal")]);

    assert_eq!(all.iter().map(|target| &*target.address).collect::<Vec<_>>(), expected, "{found:?}");
    assert!(all.iter().all(|target| &*target.authority == "shop.internal" && &*target.base_path == "/v1"));
}

#[test]
fn name_stands_for_its_addresses_and_for_itself_while_none_is_known() {
    check(&[], &["shop.internal:80"]);
    check(&["10.0.0.2", "10.0.0.1", "10.0.0.2"], &["10.0.0.1:80", "10.0.0.2:80"]);
    check(&["::1", "127.0.0.1"], &["127.0.0.1:80"]);
    check(&["fd00::2"], &["[fd00::2]:80"]);
}

#[test]
fn only_news_moves_the_generation_and_an_empty_answer_is_none() {
    let names = Names::default();

    assert!(names.learn("a", addresses(&["10.0.0.1"]).into_iter()));
    assert!(!names.learn("a", addresses(&["10.0.0.1"]).into_iter()));
    assert!(!names.learn("a", std::iter::empty()));
    assert_eq!(names.generation(), 1);
    assert_eq!(&*names.expand(&[target("a")])[0].address, "10.0.0.1:80");
}

#[test]
fn address_that_two_targets_share_is_one_endpoint() {
    let names = Names::default();
    names.learn("a", addresses(&["10.0.0.1"]).into_iter());
    names.learn("b", addresses(&["10.0.0.1", "10.0.0.2"]).into_iter());

    assert_eq!(names.expand(&[target("a"), target("b")]).len(), 2);
}
