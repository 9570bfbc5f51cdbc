//! JSON text, kept as the publisher wrote it.

/// Removes the white space between the tokens of valid JSON.
///
/// Does not parse and print the JSON again, so numbers keep their digits, objects keep the order of their
/// members, and a subscriber reads the text that the publisher wrote.
pub(crate) fn compact(json: &str) -> Box<str> {
    let mut text = String::with_capacity(json.len());
    let mut in_string = false;
    let mut escaped = false;
    for c in json.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => in_string = !in_string,
            ' ' | '\t' | '\n' | '\r' if !in_string => continue,
            _ => {}
        }
        text.push(c);
    }
    text.into()
}

/// Returns true if the text, if it is JSON, is an object. serde alone would accept an array for a struct.
pub(crate) fn is_object(json: &str) -> bool {
    json.trim_ascii_start().starts_with('{')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn compact_keeps_digits_and_order() {
        let text = "{ \"b\" : 12345678901234567890.10 ,\n\t\"a\": [ 1 , \" \\\" x \\\\\" ] }";
        assert_eq!(&*compact(text), r#"{"b":12345678901234567890.10,"a":[1," \" x \\"]}"#);
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::vec((any::<String>(), inner), 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn compact_removes_what_pretty_printing_adds(value in values()) {
            let pretty = serde_json::to_string_pretty(&value).unwrap();
            prop_assert_eq!(&*compact(&pretty), serde_json::to_string(&value).unwrap());
        }
    }
}
