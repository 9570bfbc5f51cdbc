//! The configuration of nginx, with nchan or as a proxy: one worker, nothing logged, as much history as we keep.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Result;

use crate::client::http;

/// Debian's package puts it there.
pub(super) const PROGRAM: &str = "/usr/sbin/nginx";

/// Writes the configuration and returns nginx's arguments.
pub(super) fn arguments(
    address: SocketAddr,
    redis: Option<SocketAddr>,
    directory: &Path,
) -> Result<Vec<String>> {
    write(&nchan(address, redis, directory), directory)
}

/// Writes the configuration of a proxy that does not buffer, and returns nginx's arguments.
pub(super) fn proxy(
    address: SocketAddr,
    upstream: SocketAddr,
    directory: &Path,
) -> Result<Vec<String>> {
    let server = format!(
        "server {{
        listen {address} backlog=4096;
        location / {{
            proxy_pass http://{upstream}; proxy_http_version 1.1; proxy_buffering off;
        }}
    }}"
    );
    write(&configuration("", &server, directory), directory)
}

/// Returns true once nginx has found its Redis.
pub(super) async fn takes_events(address: SocketAddr) -> Result<bool> {
    let answer = http::Client::new(address).post("/pub?topic=probe", &[], "probe").await?;
    Ok(answer.status < 300)
}

fn write(configuration: &str, directory: &Path) -> Result<Vec<String>> {
    std::fs::create_dir_all(directory)?;
    let path = directory.join("nginx.conf");
    std::fs::write(&path, configuration)?;
    Ok(vec!["-c".to_owned(), path.display().to_string()])
}

fn nchan(address: SocketAddr, redis: Option<SocketAddr>, directory: &Path) -> String {
    // `backup` keeps serving from memory and copies to Redis; `distributed`, the default, costs
    // more.
    let (upstream, pass) = match redis {
        None => (String::new(), ""),
        Some(redis) => (
            format!(
                "upstream log {{ nchan_redis_server redis://{redis}; nchan_redis_storage_mode backup; }}"
            ),
            "nchan_redis_pass log;",
        ),
    };
    let http = format!(
        "nchan_shared_memory_size 256M;
    {upstream}
    server {{
        listen {address} backlog=4096;
        location = /pub {{
            nchan_publisher; nchan_channel_id $arg_topic; {pass}
            nchan_message_buffer_length 1000; nchan_message_timeout 10m;
        }}
        location = /sub {{
            nchan_subscriber eventsource; nchan_channel_id $arg_topic; {pass}
            nchan_subscriber_first_message newest;
        }}
    }}"
    );
    configuration("load_module /usr/lib/nginx/modules/ngx_nchan_module.so;", &http, directory)
}

/// The settings of both, with some more of each.
fn configuration(main: &str, http: &str, directory: &Path) -> String {
    let place = directory.display();
    format!(
        "{main}
daemon off; user root; worker_processes 1; pid {place}/nginx.pid; error_log {place}/error.log;
worker_rlimit_nofile 20000;
events {{ worker_connections 19900; }}
http {{
    access_log off; client_body_temp_path {place}/body; keepalive_requests 100000000;
    proxy_temp_path {place}/p; fastcgi_temp_path {place}/f; uwsgi_temp_path {place}/u; scgi_temp_path {place}/s;
    {http}
}}
"
    )
}
