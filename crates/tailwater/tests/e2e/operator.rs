//! A node in the hands of its operator: at a terminal, on the default addresses, at its admin port.

use std::time::Duration;

use loadtest::client::http;
use loadtest::machine::Port;
use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use crate::cli::{Cli, tailwater};
use crate::support::{PATIENCE, TAILWATER, serve, status, until};

#[tokio::test]
async fn a_node_that_nohup_started_outlives_its_terminal() {
    let (listen, admin) = (Port::reserve().unwrap(), Port::reserve().unwrap());
    let (listens, admins) = (listen.addr().to_string(), admin.addr().to_string());
    let mut command = Command::new("nohup");
    command.args([TAILWATER, "serve", "--listen", &listens, "--admin-listen", &admins]);
    command.args(["--drain-delay", "0s", "--drain-window", "0s"]);
    let node = Cli::start_command(command);
    until("the node is ready", async || status(admin.addr(), "/readyz").await == Some(200)).await;
    node.signal(Signal::SIGHUP);
    // A node that stops is unready at once.
    for _ in 0..20 {
        assert_eq!(status(admin.addr(), "/readyz").await, Some(200));
        sleep(Duration::from_millis(25)).await;
    }
    node.signal(Signal::SIGTERM);
    let outcome = node.finish().await.success();
    assert!(outcome.stderr.contains("SIGTERM"), "{outcome:?}");
    assert!(!outcome.stderr.contains("SIGHUP"), "{outcome:?}");
}

#[tokio::test]
async fn levels_that_do_not_come_are_not_waited_for() {
    let node = serve().start().await.unwrap();
    let mut socket = TcpStream::connect(node.admin_addr()).await.unwrap();
    let head = "PUT /debug/log HTTP/1.1\r\nhost: localhost\r\ncontent-length: 4\r\n\r\nin";
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut line = vec![0; 12];
    timeout(PATIENCE, socket.read_exact(&mut line)).await.expect("an answer in time").unwrap();
    assert_eq!(line, b"HTTP/1.1 408");
    let levels = http::get(node.admin_addr(), "/debug/log").await.unwrap();
    assert_eq!(levels.text(), "info\n");
}

#[tokio::test]
async fn serve_is_for_this_machine_unless_it_is_told_otherwise() {
    let said = tailwater(&["check"]).await.success().stdout;
    for addresses in ["127.0.0.1:8080,[::1]:8080", "127.0.0.1:9090,[::1]:9090"] {
        assert!(said.contains(addresses), "{addresses} is not in {said}");
    }
}

#[tokio::test]
async fn a_node_listens_on_every_address_of_a_list() {
    let (first, second) = (Port::reserve().unwrap(), Port::reserve().unwrap());
    let admin = Port::reserve().unwrap();
    let listen = format!("{},{}", first.addr(), second.addr());
    let mut command = Command::new(TAILWATER);
    command.args(["serve", "--listen", &listen, "--admin-listen", &admin.addr().to_string()]);
    command.args(["--drain-delay", "0s", "--drain-window", "0s"]);
    let node = Cli::start_command(command);
    until("the node is ready", async || status(admin.addr(), "/readyz").await == Some(200)).await;
    for port in [&first, &second] {
        assert_eq!(status(port.addr(), "/").await, Some(200), "{}", port.addr());
    }
    node.signal(Signal::SIGTERM);
    node.finish().await.success();
}
