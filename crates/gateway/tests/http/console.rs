//! The console page at `/`.

use std::collections::HashSet;

use gateway::Config;

use crate::node::Node;

/// Returns the quoted texts that follow any of the prefixes `before`.
fn quoted<'a>(text: &'a str, before: &[&str]) -> Vec<&'a str> {
    let after = before.iter().flat_map(|before| text.split(before).skip(1));
    after.filter_map(|rest| rest.split(['"', '\'']).next()).collect()
}

#[tokio::test]
async fn everything_that_the_page_refers_to_is_served_under_a_strict_policy() {
    let node = Node::start().await;
    let mut open = vec![("/".to_owned(), "text/html; charset=utf-8")];
    let mut seen = HashSet::new();
    while let Some((path, kind)) = open.pop() {
        if !seen.insert(path.clone()) {
            continue;
        }
        let mut response = node.request(&format!("GET {path}"), &[]).await;
        assert_eq!(response.status, 200, "{path}");
        assert_eq!(response.header("content-type"), Some(kind), "{path}");
        let policy = response.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'self';"), "{path}: {policy}");
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(response.header("x-content-type-options"), Some("nosniff"), "{path}");
        let text = response.text().await;
        let names = match kind.starts_with("text/html") {
            true => quoted(&text, &["href=\"/console/", "src=\"/console/"]),
            false => quoted(&text, &["from './", "import './", "import('./"]),
        };
        for name in names {
            let kind = match name.rsplit_once('.').unwrap().1 {
                "js" => "text/javascript",
                "css" => "text/css",
                "svg" => "image/svg+xml",
                other => panic!("{path} refers to {name}: {other}"),
            };
            open.push((format!("/console/{name}"), kind));
        }
    }
    for must in ["/console/console.css", "/console/console.js", "/console/timeline.js"] {
        assert!(seen.contains(must), "{must} is not referred to: {seen:?}");
    }
}

#[tokio::test]
async fn the_nodes_name_is_text_and_never_markup() {
    let config = Config {
        node: "\"><script>alert('&')</script>".to_owned(),
        publish: true,
        ..Config::default()
    };
    let node = Node::with(config).await;
    let page = node.request("GET /", &[]).await.text().await;
    assert!(page.contains("content=\"&quot;>&lt;script>alert('&amp;')&lt;/script>\""), "{page}");
    assert!(!page.contains("<script>alert"));
    assert!(page.contains("name=\"tailwater-publish\" content=\"true\""));
    assert!(!page.contains("{{"), "a placeholder was not filled in");
}
