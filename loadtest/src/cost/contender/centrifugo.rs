//! The configuration of Centrifugo: streams in one direction, nothing logged, no history.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use crate::cost::mint::SECRET;

/// Writes the configuration and returns Centrifugo's arguments. Without Redis, its engine is its
/// own memory.
pub(super) fn arguments(
    address: SocketAddr,
    redis: Option<SocketAddr>,
    directory: &Path,
) -> Result<Vec<String>> {
    std::fs::create_dir_all(directory)?;
    let file = directory.join("centrifugo.json");
    std::fs::write(&file, serde_json::to_vec_pretty(&configuration(address, redis))?)?;
    Ok(vec!["--config".to_owned(), file.display().to_string()])
}

fn configuration(address: SocketAddr, redis: Option<SocketAddr>) -> Value {
    let engine = match redis {
        None => json!({ "type": "memory" }),
        Some(redis) => json!({ "type": "redis", "redis": { "address": redis.to_string() } }),
    };
    json!({
        "http_server": { "address": address.ip().to_string(), "port": address.port() },
        "engine": engine,
        "log": { "level": "error" },
        "usage_stats": { "disabled": true },
        "websocket": { "disabled": true },
        "uni_sse": { "enabled": true },
        // A refusal is a status, not a 200.
        "http_api": { "insecure": true, "error_mode": "transport" },
        "client": {
            "allow_anonymous_connect_without_token": true,
            "token": { "hmac_secret_key": SECRET },
        },
        "channel": { "without_namespace": {
            "allow_subscribe_for_client": true, "allow_subscribe_for_anonymous": true,
        } },
    })
}
