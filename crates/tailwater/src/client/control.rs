//! The words in which the clients report a gateway's control events.

use serde_json::Value;

/// Describes the gap of a `tailwater.gap`.
pub(super) fn gap(data: &Value) -> String {
    let text = |name: &str| data[name].as_str().unwrap_or("?");
    let missed = match (data["missed"].as_u64(), data["missed_at_most"].as_u64()) {
        (Some(missed), _) => missed.to_string(),
        // A subscriber that selects: nobody can tell how many of the lost events it wanted.
        (None, Some(most)) => format!("at most {most}"),
        (None, None) => "an unknown number of".to_owned(),
    };
    format!("GAP in {}: {missed} events are missing ({})", text("topic"), text("reason"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn a_gap_is_told_with_the_number_that_is_known_of_it() {
        for (data, told) in [
            (json!({ "missed": 3 }), "3 events are missing"),
            (json!({ "missed": null, "missed_at_most": 7 }), "at most 7 events are missing"),
            (json!({ "missed": null }), "an unknown number of events are missing"),
        ] {
            let line = super::gap(&data);
            assert!(line.contains(told), "{line}");
        }
    }
}
