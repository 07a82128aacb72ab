use super::*;

fn target(name: &str) -> Arc<Target> {
    Arc::new(Target {
        address: format!("{name}:80").into(),
        authority: name.into(),
        base_path: "/v1".into(),
        name: Some((name.into(), 80)),
        reach: Arc::default(),
        is_gateway: false,
    })
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

/// An edge that serves one service, whose only target is a name.
fn edge() -> Arc<Edge> {
    let text = "version: 1\nregions: [ { name: eu } ]\ntenants: [ { name: acme, hosts: [ api.example ] } ]\nupstreams: [ { name: shop, resolve_every: 100ms, regions: { eu: { targets: [ \"http://shop.internal\" ] } } } ]\n";
    let (document, _) = model::source::read(text).unwrap();
    let snapshot = model::snapshot::Snapshot {
        revisions: model::change::Revisions::default(),
        structure: Arc::new(model::compile::compile(&document).unwrap()),
        authority: Arc::default(),
        writers: Arc::default(),
        booted_from: None,
    };
    Arc::new(crate::fixture::edge(snapshot))
}

/// A name that moves moves its endpoints, and makes the cores look again; a resolver that fails afterwards changes nothing.
#[tokio::test]
async fn name_is_looked_up_again_and_a_failure_keeps_what_was_found() {
    let edge = edge();
    let asked = Arc::new(AtomicU64::new(0));
    let turns = Arc::clone(&asked);
    let lookup = move |name: Box<str>| {
        assert_eq!(&*name, "shop.internal");
        let turn = turns.fetch_add(1, Ordering::SeqCst);
        async move {
            match turn {
                0 => Ok(addresses(&["10.0.0.1"])),
                1 => Ok(addresses(&["10.0.0.2", "10.0.0.3"])),
                _ => Err(io::ErrorKind::NotFound.into()),
            }
        }
    };
    let generation = edge.current.generation();

    let watched = async {
        let mut pulse = tokio::time::interval(Duration::from_millis(5));
        while edge.tally.read(Event::NameFailed) < 2 {
            pulse.tick().await;
        }
    };
    tokio::select! {
        () = run(Arc::clone(&edge), lookup) => unreachable!("it runs for as long as the node"),
        waited = tokio::time::timeout(Duration::from_secs(10), watched) => waited.unwrap(),
    }

    let snapshot = edge.current.load().unwrap();
    let found = edge.names.expand(&snapshot.structure.upstreams[0].regions[0].targets);
    assert_eq!(found.iter().map(|target| &*target.address).collect::<Vec<_>>(), ["10.0.0.2:80", "10.0.0.3:80"]);
    assert_eq!((edge.tally.read(Event::NameChanged), edge.current.generation() - generation), (2, 2));
}
