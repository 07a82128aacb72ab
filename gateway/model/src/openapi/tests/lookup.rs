//! Which operation a request leads to.

use super::*;

fn shop() -> Api {
    let operation = |id: &str, parameters: &[&str]| {
        let parameters: Vec<Value> =
            parameters.iter().map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } })).collect();
        json!({ "operationId": id, "parameters": parameters })
    };
    let mut document = document(
        "3.1.0",
        &json!({
            "/": { "get": operation("root", &[]) },
            "/items": { "get": operation("list", &[]), "post": operation("create", &[]) },
            "/items/": { "get": operation("list_slash", &[]) },
            "/items/{id}": { "get": operation("read", &["id"]), "delete": operation("delete", &["id"]) },
            "/items/mine": { "get": operation("mine", &[]) },
            "/items/mine/old": { "get": operation("mine_old", &[]) },
            "/items/{id}/parts": { "get": operation("parts", &["id"]) },
            "/{kind}/{id}/{part}": { "get": operation("any", &["part", "id", "kind"]) },
            "/caf\u{e9} au lait/a%2fb": { "get": operation("coffee", &[]) },
        }),
    );
    document["servers"] = json!([{ "url": "https://{host}.example/{base}/", "variables": {
        "host": { "default": "api" }, "base": { "default": "v1" } } }]);
    compile(&document)
}

fn answer(api: &Api, method: &Method, path: &str) -> String {
    match api.find(method, path) {
        Lookup::Found { operation, path_values } => {
            let mut words = vec![operation.id()];
            words.extend(path_values.as_slice());
            words.join(" ")
        }
        Lookup::MethodNotAllowed { allowed } => format!("405 {allowed:?}"),
        Lookup::NotFound => "404".to_owned(),
    }
}

#[test]
fn a_literal_segment_beats_a_parameter_and_gives_way_where_it_leads_nowhere() {
    let api = shop();
    let check = |path: &str, expected: &str| assert_eq!(answer(&api, &Method::GET, path), expected, "{path}");

    check("/v1/", "root");
    check("/v1/items", "list");
    check("/v1/items/", "list_slash");
    check("/v1/items/mine", "mine");
    check("/v1/items/mine/old", "mine_old");
    check("/v1/items/mine/parts", "parts mine");
    check("/v1/items/mine/new", "any items mine new");
    check("/v1/items/7", "read 7");
    check("/v1/items/a%20b", "read a%20b");
    check("/v1/x/7/lid", "any x 7 lid");
    check("/v1/caf%C3%A9%20au%20lait/a%2Fb", "coffee");
}

#[test]
fn paths_outside_of_the_document_are_not_found() {
    let api = shop();

    for path in ["/", "/v1", "/v1x/items", "/v2/items", "/items", "/v1/items/7/", "/v1//7/lid", "/v1/x/7", "", "v1/items"] {
        assert_eq!(answer(&api, &Method::GET, path), "404", "{path}");
    }
}

#[test]
fn a_known_path_with_another_method_lists_the_methods_it_has() {
    let api = shop();

    assert_eq!(answer(&api, &Method::PATCH, "/v1/items"), "405 [GET, POST]");
    assert_eq!(answer(&api, &Method::DELETE, "/v1/items/mine"), "405 [GET]");
    assert_eq!(answer(&api, &Method::HEAD, "/v1/items/7"), "405 [GET, DELETE]");
}

#[test]
fn names_come_from_the_document() {
    let api = shop();
    let coffee = api.operations().find(|operation| operation.id() == "coffee").expect("the operation exists");
    let unnamed = compile(&document("3.0.0", &json!({ "/a/b": { "put": {} } })));

    assert_eq!((api.name(), api.title(), api.base_path()), ("shop", "Shop", "/v1"));
    assert_eq!((coffee.method(), coffee.path_template()), (&Method::GET, "/caf\u{e9} au lait/a%2fb"));
    assert_eq!(api.operations().count(), 11);
    assert_eq!(unnamed.operations().next().map(super::super::Operation::id), Some("PUT /a/b"));
    assert_eq!(unnamed.base_path(), "");
}

#[test]
fn the_base_path_is_that_of_the_first_server() {
    let check = |url: &str, expected: &str| {
        let mut document = document("3.1.0", &json!({}));
        document["servers"] = json!([{ "url": url }, { "url": "/other" }]);
        assert_eq!(compile(&document).base_path(), expected, "{url}");
    };

    check("/", "");
    check("https://api.example", "");
    check("https://api.example/", "");
    check("https://api.example:8443/v1/shop/", "/v1/shop");
    check("/v1", "/v1");
    check("v1", "/v1");
    check("//api.example/v2", "/v2");
    check("/a b", "/a%20b");
}

#[test]
fn a_path_of_many_segments_is_found_in_linear_time() {
    // Both branches exist at every level, so a search that forgot what it had seen would double at each.
    let operation = json!({ "get": {} });
    let mut paths = serde_json::Map::new();
    for n_levels in 1..=7 {
        let parameters: Vec<Value> =
            (0..n_levels).map(|i| json!({ "name": format!("p{i}"), "in": "path", "required": true, "schema": { "type": "string" } })).collect();
        let path: Vec<String> = (0..n_levels).map(|i| format!("/a/{{p{i}}}")).collect();
        paths.insert(path.concat(), json!({ "get": { "parameters": parameters } }));
        paths.insert("/a".repeat(2 * n_levels), operation.clone());
    }
    let api = compile(&document("3.1.0", &Value::Object(paths)));

    assert_eq!(answer(&api, &Method::GET, &format!("{}/b", "/a".repeat(100_000))), "404");
    assert_eq!(answer(&api, &Method::GET, "/a/a/a/a"), "GET /a/a/a/a");
    assert_eq!(answer(&api, &Method::GET, "/a/a/a/b"), "GET /a/{p0}/a/{p1} a b");
}
