//! The words in which the clients report a gateway's control events.

use serde_json::Value;

/// Describes the gap of a `tailwater.gap`.
pub(super) fn gap(data: &Value) -> String {
    let text = |name: &str| data[name].as_str().unwrap_or("?");
    let missed = data["missed"]
        .as_u64()
        .map_or("an unknown number of".to_owned(), |missed| missed.to_string());
    format!("GAP in {}: {missed} events are missing ({})", text("topic"), text("reason"))
}
