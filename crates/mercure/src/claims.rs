//! The rights of a token whose signature somebody else has verified.
//!
//! The claims of 0.x are lists of selectors; those of 1.0 are authorization details (RFC 9396). One malformed detail refuses the
//! whole token: the rest of it would grant something else than its issuer meant.

use serde_json::Value;

use crate::dialect::Dialect;
use crate::hub::Hub;
use crate::selector::{BadSelector, Kind, Selector};
use crate::topic::Topic;
use crate::update::Update;

/// The rights of a token.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Claims {
    dialect: Option<Dialect>,
    publish: Vec<Selector>,
    subscribe: Vec<Selector>,
    payloads: Vec<Payload>,
}

/// Data of the token's issuer about a subscription.
#[derive(Debug, Clone, PartialEq)]
struct Payload {
    /// The subscriptions that it is for; `None` is all.
    selectors: Option<Vec<Selector>>,
    value: Option<Value>,
}

/// Claims that are malformed or too large. The sentence does not quote the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadClaims {
    /// A claim or a member of it has a wrong type.
    #[error("{member} must be {wanted}")]
    Shape {
        /// Its name.
        member: &'static str,
        /// The type that it must have.
        wanted: &'static str,
    },
    /// The token has the rights of 1.0, and not its form.
    #[error("a token with authorization_details needs the type at+jwt, and exp, aud and iss")]
    Form,
    /// There are more selectors than [`Claims::SELECTORS_MAX`].
    #[error("more than {max} selectors in one token", max = Claims::SELECTORS_MAX)]
    TooMany,
    /// A selector is malformed.
    #[error(transparent)]
    Selector(#[from] BadSelector),
}

impl BadClaims {
    /// The reason for a log, which shows nothing of the token: not even a selector.
    #[must_use]
    pub fn for_log(&self) -> String {
        match self {
            Self::Selector(_) => "a selector is malformed or too large".to_owned(),
            other => other.to_string(),
        }
    }
}

/// The type of the authorization details that are Mercure's. Drafts of 1.0 had a shorter one, which a server of
/// authorization could give to something else.
pub(crate) const DETAIL_TYPE: &str = "https://mercure.rocks/authorization-detail";

impl Claims {
    /// Selectors of one token. Each of those for subscribing is tried for every private update.
    pub const SELECTORS_MAX: usize = 256;

    /// Reads the claims of a token by the rules of its dialect, [`Dialect::of_claims`], or, if it has the claims of
    /// both, by those of the request. A token with neither has no rights.
    ///
    /// # Errors
    /// A claim is malformed, has too many selectors, or one that is refused.
    pub fn parse(claims: &Value, request: Option<Dialect>, hub: &Hub) -> Result<Self, BadClaims> {
        let claim = |dialect: Dialect| {
            let value = dialect.claims().iter().find_map(|name| claims.get(name))?;
            Some((dialect, value))
        };
        let found = request.and_then(claim).or_else(|| Dialect::of_claims(claims).and_then(claim));
        let read = match found {
            None => return Ok(Self::default()),
            Some((Dialect::V0, value)) => Self::of_lists(value, hub)?,
            Some((Dialect::V1, value)) => Self::of_details(value, hub)?,
        };
        Ok(read)
    }

    /// Reads the claims of a token with a type in its header, as [`parse`](Self::parse) does, if it has the form that
    /// its dialect demands.
    ///
    /// # Errors
    /// As [`parse`](Self::parse); and the token has the rights of 1.0 without the type or a claim that 1.0 demands.
    pub fn of_token(
        claims: &Value,
        kind: Option<&str>,
        request: Option<Dialect>,
        hub: &Hub,
    ) -> Result<Self, BadClaims> {
        let read = Self::parse(claims, request, hub)?;
        let Some(dialect) = read.dialect else { return Ok(read) };
        let kind = kind.unwrap_or_default();
        // A media type may be written with its tree (RFC 7515).
        let kind = kind.strip_prefix("application/").unwrap_or(kind);
        let is_of_type =
            dialect.token_type().is_none_or(|wanted| kind.eq_ignore_ascii_case(wanted));
        let has = |name: &&str| claims.get(name).is_some_and(|value| !value.is_null());
        match is_of_type && dialect.required_claims().iter().all(has) {
            true => Ok(read),
            false => Err(BadClaims::Form),
        }
    }

    /// The claim of 0.x: `{"publish": [...], "subscribe": [...], "payload": ...}`.
    fn of_lists(claim: &Value, hub: &Hub) -> Result<Self, BadClaims> {
        let claim = claim.as_object().ok_or(shape("the claim mercure", "an object"))?;
        let texts = |member| match claim.get(member) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(all)) => {
                all.iter().map(|one| one.as_str().ok_or(shape(member, "a list of texts"))).collect()
            }
            Some(_) => Err(shape(member, "a list of texts")),
        };
        let (publish, subscribe) = (texts("publish")?, texts("subscribe")?);
        if publish.len() + subscribe.len() > Self::SELECTORS_MAX {
            return Err(BadClaims::TooMany);
        }
        let compile = |texts: Vec<&str>| {
            let all = texts.into_iter().map(|text| Selector::new(Kind::Topic, text, hub));
            all.collect::<Result<Vec<_>, _>>()
        };
        let payload = claim.get("payload").filter(|value| !value.is_null()).cloned();
        Ok(Self {
            dialect: Some(Dialect::V0),
            publish: compile(publish)?,
            subscribe: compile(subscribe)?,
            payloads: vec![Payload { selectors: None, value: payload }],
        })
    }

    /// The claim of 1.0: a list of details, of which those of other types are for others.
    fn of_details(claim: &Value, hub: &Hub) -> Result<Self, BadClaims> {
        let details = claim.as_array().ok_or(shape("authorization_details", "a list"))?;
        let mut claims = Self { dialect: Some(Dialect::V1), ..Self::default() };
        let mut count = 0;
        for detail in details {
            let detail = detail.as_object().ok_or(shape("an authorization detail", "an object"))?;
            if detail.get("type").and_then(Value::as_str) != Some(DETAIL_TYPE) {
                continue;
            }
            let filled = |member| {
                let list = detail.get(member).and_then(Value::as_array);
                list.filter(|list| !list.is_empty())
                    .ok_or(shape(member, "a list that is not empty"))
            };
            let (actions, topics) = (filled("actions")?, filled("topics")?);
            count += topics.len();
            if count > Self::SELECTORS_MAX {
                return Err(BadClaims::TooMany);
            }
            let actions: Option<Vec<_>> = actions.iter().map(Value::as_str).collect();
            // An action of a later version grants nothing here.
            let actions = actions.ok_or(shape("actions", "a list of texts"))?;
            let selectors: Vec<_> =
                topics.iter().map(|topic| selector(topic, hub)).collect::<Result<_, _>>()?;
            if actions.contains(&"publish") {
                claims.publish.extend(selectors.iter().cloned());
            }
            if actions.contains(&"subscribe") {
                claims.subscribe.extend(selectors.iter().cloned());
                let value = detail.get("payload").filter(|value| !value.is_null()).cloned();
                claims.payloads.push(Payload { selectors: Some(selectors), value });
            }
        }
        Ok(claims)
    }

    /// The dialect that the token speaks, if it speaks one.
    #[must_use]
    pub const fn dialect(&self) -> Option<Dialect> {
        self.dialect
    }

    /// Returns true if the token is for all of these topics, and there is one.
    #[must_use]
    pub fn may_publish(&self, topics: &[Topic]) -> bool {
        let is_covered = |topic| self.publish.iter().any(|selector| selector.matches(topic));
        !topics.is_empty() && topics.iter().all(is_covered)
    }

    /// Returns true if the token is for one of the update's topics, or the update is for everybody. The subscription
    /// has to match besides.
    #[must_use]
    pub fn may_receive(&self, update: &Update) -> bool {
        !update.private || update.topics.iter().any(|topic| self.may_read(topic))
    }

    /// Returns true if the token is for a topic, such as the path of a request for active subscriptions.
    #[must_use]
    pub fn may_read(&self, topic: &Topic) -> bool {
        self.subscribe.iter().any(|selector| selector.matches(topic))
    }

    /// The data of the issuer about a subscription. Of several in 1.0 the first counts that is for the selector, whose
    /// text is taken for a topic.
    #[must_use]
    pub fn payload(&self, subscription: &Selector, hub: &Hub) -> Option<&Value> {
        let topic = Topic::unchecked(subscription.as_str(), hub);
        let is_for = |payload: &&Payload| {
            let selectors = payload.selectors.as_ref();
            selectors.is_none_or(|all| all.iter().any(|one| one.matches(&topic)))
        };
        self.payloads.iter().find(is_for)?.value.as_ref()
    }
}

/// A selector of a detail: `{"match": ..., "match_type": ...}`.
fn selector(topic: &Value, hub: &Hub) -> Result<Selector, BadClaims> {
    let topic = topic.as_object().ok_or(shape("a topic of a detail", "an object"))?;
    let text = topic.get("match").and_then(Value::as_str).ok_or(shape("match", "a text"))?;
    let kind = match topic.get("match_type") {
        None => Kind::Exact,
        Some(Value::String(name)) => Kind::of_match_type(name)
            .ok_or_else(|| BadSelector::Kind(name.chars().take(64).collect()))?,
        Some(_) => return Err(shape("match_type", "a text")),
    };
    Ok(Selector::new(kind, text, hub)?)
}

const fn shape(member: &'static str, wanted: &'static str) -> BadClaims {
    BadClaims::Shape { member, wanted }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn hub() -> Hub {
        Hub::new("https://example.com/.well-known/mercure").unwrap()
    }

    fn topics(texts: &[&str]) -> Vec<Topic> {
        texts.iter().map(|text| Topic::new(text, &hub()).unwrap()).collect()
    }

    fn of(claims: &Value) -> Result<Claims, BadClaims> {
        Claims::parse(claims, None, &hub())
    }

    fn detail(actions: &Value, topics: &Value, payload: &Value) -> Value {
        json!({ "type": DETAIL_TYPE, "actions": actions, "topics": topics, "payload": payload })
    }

    fn update(texts: &[&str], private: bool) -> Update {
        let mut update = Update::new(topics(texts).remove(0), String::new());
        update.topics = topics(texts);
        update.private = private;
        update
    }

    fn subscription(kind: Kind, text: &str) -> Selector {
        Selector::new(kind, text, &hub()).unwrap()
    }

    #[test]
    fn a_token_of_1_0_has_the_form_of_1_0() {
        let details = json!([{
            "type": DETAIL_TYPE, "actions": ["subscribe"], "topics": [{ "match": "a" }]
        }]);
        let full = json!({ "exp": 1, "aud": "x", "iss": "y", "authorization_details": details });
        let of = |claims: &Value, kind| Claims::of_token(claims, kind, None, &hub());
        for kind in ["at+jwt", "AT+JWT", "application/at+jwt"] {
            assert_eq!(of(&full, Some(kind)).unwrap().dialect(), Some(Dialect::V1), "{kind}");
        }
        assert_eq!(of(&full, None), Err(BadClaims::Form));
        assert_eq!(of(&full, Some("jwt")), Err(BadClaims::Form));
        for lacking in ["exp", "aud", "iss"] {
            let mut claims = full.clone();
            claims.as_object_mut().unwrap().remove(lacking);
            assert_eq!(of(&claims, Some("at+jwt")), Err(BadClaims::Form), "{lacking}");
        }
        assert!(of(&json!({ "mercure": { "subscribe": ["a"] } }), None).is_ok());
    }

    #[test]
    fn the_lists_of_0_x_are_selectors() {
        for name in Dialect::V0.claims() {
            let claims = of(&json!({ *name: {
                "publish": ["/books/{id}", "a"], "subscribe": ["b", "/c/{x}"], "payload": {"user": 1}
            }}));
            let claims = claims.unwrap();
            assert_eq!(claims.dialect(), Some(Dialect::V0));
            assert!(claims.may_publish(&topics(&["/books/1", "a"])));
            assert!(!claims.may_publish(&topics(&["/books/1", "b"])));
            assert!(!claims.may_publish(&[]));
            assert!(claims.may_receive(&update(&["x", "/c/1"], true)));
            assert!(!claims.may_receive(&update(&["x", "/books/1"], true)));
            assert!(claims.may_receive(&update(&["x"], false)));
            let payload = claims.payload(&subscription(Kind::Topic, "anything"), &hub());
            assert_eq!(payload, Some(&json!({"user": 1})));
        }
    }

    #[test]
    fn what_a_claim_of_0_x_leaves_out_it_does_not_grant() {
        for claim in [json!({}), json!({"publish": [], "subscribe": null})] {
            let claims = of(&json!({ "mercure": claim })).unwrap();
            assert!(!claims.may_publish(&topics(&["a"])));
            assert!(!claims.may_receive(&update(&["a"], true)));
            assert_eq!(claims.payload(&subscription(Kind::Topic, "a"), &hub()), None);
        }
        let none = of(&json!({"sub": "ann"})).unwrap();
        assert!(none == Claims::default() && none.dialect().is_none());
        assert!(!none.may_publish(&topics(&["a"])) && none.may_receive(&update(&["a"], false)));
    }

    #[test]
    fn the_details_of_1_0_grant_actions_on_topics() {
        let claims = of(&json!({"authorization_details": [
            {"type": "other", "topics": 5},
            detail(&json!(["publish", "dance"]), &json!([{"match": "/a"}]), &json!(null)),
            detail(&json!(["subscribe"]),
                &json!([{"match": "/books/:id", "match_type": "urlpattern"}, {"match": "/b", "match_type": "exact"}]),
                &json!({"n": 1})),
            detail(&json!(["subscribe", "publish"]), &json!([{"match": "*"}]), &json!("all")),
        ]}));
        let claims = claims.unwrap();
        assert_eq!(claims.dialect(), Some(Dialect::V1));
        assert!(claims.may_publish(&topics(&["/a", "/z"])));
        assert!(claims.may_receive(&update(&["https://example.com/books/1"], true)));
        let payload = |kind, text| claims.payload(&subscription(kind, text), &hub()).cloned();
        assert_eq!(payload(Kind::UrlPattern, "/books/:id"), Some(json!({"n": 1})));
        assert_eq!(payload(Kind::Exact, "/b"), Some(json!({"n": 1})));
        assert_eq!(payload(Kind::Exact, "/c"), Some(json!("all")));
    }

    #[test]
    fn a_detail_for_one_action_grants_no_other() {
        let one = |action| {
            let detail = detail(&json!([action]), &json!([{"match": "*"}]), &json!(null));
            of(&json!({"authorization_details": [detail]})).unwrap()
        };
        let (publish, subscribe) = (one("publish"), one("subscribe"));
        assert!(
            publish.may_publish(&topics(&["a"])) && !publish.may_receive(&update(&["a"], true))
        );
        assert!(
            !subscribe.may_publish(&topics(&["a"])) && subscribe.may_receive(&update(&["a"], true))
        );
        let neither = one("Subscribe");
        assert!(
            !neither.may_publish(&topics(&["a"])) && !neither.may_receive(&update(&["a"], true))
        );
    }

    #[test]
    fn the_request_chooses_among_the_claims_of_both() {
        let both = json!({"mercure": {"subscribe": ["old"]}, "authorization_details": [
            detail(&json!(["subscribe"]), &json!([{"match": "new"}]), &json!(null))
        ]});
        let reads = |request, text| {
            let claims = Claims::parse(&both, request, &hub()).unwrap();
            claims.may_read(&topics(&[text])[0])
        };
        assert!(reads(Some(Dialect::V0), "old") && !reads(Some(Dialect::V0), "new"));
        assert!(reads(Some(Dialect::V1), "new") && !reads(Some(Dialect::V1), "old"));
        assert!(reads(None, "new"));
        // A subscription of one dialect may have a token of the other.
        let old = json!({"mercure": {"subscribe": ["old"]}});
        assert!(
            Claims::parse(&old, Some(Dialect::V1), &hub()).unwrap().may_read(&topics(&["old"])[0])
        );
    }

    #[test]
    fn one_malformed_claim_refuses_the_token() {
        let good = json!([{"match": "a"}]);
        let many = vec![json!({"match": "a"}); 257];
        let bad = json!([{"match": "a", "match_type": "Exact"}]);
        for (claims, message) in [
            (json!({"mercure": []}), "the claim mercure must be an object"),
            (json!({"mercure": {"publish": "*"}}), "publish must be a list of texts"),
            (
                json!({"mercure": {"subscribe": [{"match": "a"}]}}),
                "subscribe must be a list of texts",
            ),
            (json!({"mercure": {"subscribe": [""]}}), "a selector is empty"),
            (
                json!({"mercure": {"subscribe": vec!["a"; 257]}}),
                "more than 256 selectors in one token",
            ),
            (json!({"authorization_details": {}}), "authorization_details must be a list"),
            (json!({"authorization_details": ["a"]}), "an authorization detail must be an object"),
        ] {
            assert_eq!(of(&claims).unwrap_err().to_string(), message);
        }
        for (actions, topics, message) in [
            (json!([]), &good, "actions must be a list that is not empty"),
            (json!("publish"), &good, "actions must be a list that is not empty"),
            (json!(["publish", 5]), &good, "actions must be a list of texts"),
            (json!(["publish"]), &json!([]), "topics must be a list that is not empty"),
            (json!(["publish"]), &json!(["a"]), "a topic of a detail must be an object"),
            (json!(["publish"]), &json!([{}]), "match must be a text"),
            (
                json!(["publish"]),
                &json!([{"match": "a", "match_type": null}]),
                "match_type must be a text",
            ),
            (
                json!(["publish"]),
                &bad,
                "the match type \"Exact\" is not supported; it is exact or urlpattern",
            ),
            (
                json!(["dance"]),
                &json!([{"match": "\n"}]),
                "a selector has U+000A, a control or format character",
            ),
            (json!(["publish"]), &json!(many), "more than 256 selectors in one token"),
        ] {
            let details = json!([
                detail(&json!(["publish"]), &good, &json!(null)),
                detail(&actions, topics, &json!(null))
            ]);
            let refused = of(&json!({"authorization_details": details})).unwrap_err();
            assert_eq!(refused.to_string(), message);
        }
    }
}
