//! The real clients of LLM APIs through two relays. `interop/setup` installs them, so these tests are not among
//! those that run by themselves: `make interop` runs them.

use std::path::Path;

use loadtest::machine::{Redis, Tailwater};
use tokio::process::Command;
use tokio::time::timeout;

use super::client::{Caller, at, http, relay};
use super::upstream::{TOKENS, Upstream};
use crate::support::{PATIENCE, metric, until};

/// The directory in which `interop/setup` has installed the clients.
const CLIENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/interop");

/// Runs a client and returns its output.
async fn run(program: &str, script: &str, urls: &[String]) -> String {
    let folder = Path::new(CLIENTS).join(Path::new(script).parent().unwrap());
    let program =
        if program.contains('/') { Path::new(CLIENTS).join(program) } else { program.into() };
    let script = Path::new(CLIENTS).join(script);
    let mut command = Command::new(program);
    let ran = command.arg(script).args(urls).current_dir(folder).kill_on_drop(true).output();
    let output = timeout(PATIENCE, ran).await.expect("it ends").expect("interop/setup was run");
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    out.trim_end_matches('\n').to_owned()
}

async fn urls_of_two(upstream: &Upstream) -> (Redis, [Tailwater; 2], [String; 2]) {
    let redis = Redis::start().await.unwrap();
    let node = |name| {
        relay(upstream, Some(&redis))
            .node(name)
            .flag("--adapter", "openai,ai-sdk,langgraph")
            .start()
    };
    let nodes = [node("first").await.unwrap(), node("second").await.unwrap()];
    let urls = [0, 1].map(|n| at(nodes[n].addr(), ""));
    (redis, nodes, urls)
}

fn tokens() -> String {
    (0..TOKENS).map(|n| format!("token-{n} ")).collect()
}

#[tokio::test]
#[ignore = "interop/setup installs the clients"]
async fn openai_for_node_retrieves_the_rest_of_a_response() {
    let upstream = Upstream::start().await;
    upstream.allow(usize::MAX);
    let (_redis, _nodes, urls) = urls_of_two(&upstream).await;
    assert_eq!(run("node", "npm-large/relay-openai.mjs", &urls).await, tokens());
    assert_eq!(upstream.requests().len(), 1);
}

#[tokio::test]
#[ignore = "interop/setup installs the clients"]
async fn openai_for_python_retrieves_the_rest_of_a_response() {
    let upstream = Upstream::start().await;
    upstream.allow(usize::MAX);
    let (_redis, _nodes, urls) = urls_of_two(&upstream).await;
    let python = "pypi-large/venv/bin/python3";
    assert_eq!(run(python, "pypi-large/relay_openai.py", &urls).await, tokens());
    assert_eq!(upstream.requests().len(), 1);
}

/// The client puts the message together from the stream's events, so it notices a byte that is missing.
#[tokio::test]
#[ignore = "interop/setup installs the clients"]
async fn anthropic_for_python_gets_what_it_gets_without_the_relay() {
    let upstream = Upstream::start().await;
    upstream.allow(usize::MAX);
    let (_redis, _nodes, [first, second]) = urls_of_two(&upstream).await;
    let python = "pypi-large/venv/bin/python3";
    let script = "pypi-large/relay_anthropic.py";
    let direct = run(python, script, &[upstream.url("")]).await;
    assert_eq!(direct, tokens() + "end_turn");
    for url in [first, second] {
        assert_eq!(run(python, script, &[url]).await, direct);
    }
}

#[tokio::test]
#[ignore = "interop/setup installs the clients"]
async fn the_ai_sdk_finds_the_answer_again_when_its_page_is_loaded_again() {
    let upstream = Upstream::start().await;
    let (_redis, nodes, urls) = urls_of_two(&upstream).await;
    // The answer must not end before the page is loaded again.
    upstream.allow(200);
    let page = tokio::spawn(async move { run("node", "npm-large/relay-ai.mjs", &urls).await });
    let resumed = "tailwater_relay_requests_total{way=\"resumed\"}";
    until("the page has asked twice for a running answer", async || {
        let exposed = http().get(at(nodes[1].admin_addr(), "/metrics")).send().await.unwrap();
        metric(&exposed.text().await.unwrap(), resumed) == Some(2.0)
    })
    .await;
    upstream.allow(usize::MAX);
    assert_eq!(page.await.unwrap(), tokens());
    assert_eq!(upstream.requests().len(), 1);
}

#[tokio::test]
#[ignore = "interop/setup installs the clients"]
async fn langgraph_goes_on_with_a_run_whose_connection_broke() {
    let upstream = Upstream::start().await;
    upstream.allow(usize::MAX);
    let (_redis, _nodes, urls) = urls_of_two(&upstream).await;
    assert_eq!(run("node", "npm-large/relay-langgraph.mjs", &urls).await, tokens());
    assert_eq!(upstream.requests().len(), 1);
}

#[tokio::test]
#[ignore = "interop/setup installs the clients"]
async fn openai_raises_the_error_of_an_answer_that_did_not_come_to_its_end() {
    let upstream = Upstream::start().await;
    let node = relay(&upstream, None).start().await.unwrap();
    upstream.allow(10);
    let mut caller = Caller::chat(node.addr()).await;
    caller.until_token(9).await;
    let url = at(node.addr(), &caller.location);
    http().delete(&url).send().await.unwrap();
    let told = run("node", "npm-large/relay-broken.mjs", &[url]).await;
    assert_eq!(told, "error cancelled");
}
