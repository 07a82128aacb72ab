use super::*;

#[test]
fn neither_the_node_nor_a_route_has_more_than_it_may_and_what_ends_makes_room() {
    let places = Arc::<Places>::default();
    let (chat, news): (Arc<str>, Arc<str>) = ("chat".into(), "news".into());
    let take = |route: &Arc<str>| places.take(route, 3, 2).ok();

    let (first, second) = (take(&chat), take(&chat));
    assert!(first.is_some() && second.is_some() && take(&chat).is_none(), "the route's cap");
    let third = take(&news);
    assert!(third.is_some() && take(&news).is_none(), "the node's cap");

    drop(first);
    assert!(take(&news).is_some() && take(&chat).is_some());
    let again = (take(&chat), take(&chat));
    assert!(again.0.is_some() && again.1.is_none());
    drop((second, third, again));
    assert_eq!(places.taken.lock().all, 0);
    assert!(places.taken.lock().routes.is_empty(), "routes that are gone leave nothing behind");
}
