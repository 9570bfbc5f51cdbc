//! A request for the updates of a hub.

use access::Page;
use event_log::{Pattern, Spaces};
use mercure::{Carrier, Carriers, Cursor, Dialect, Head, Selector, Settings, Subscription};

use super::{Begin, Control, Form, Manner, PresenceWish, Renew, Request, Style, trace_of};
use crate::error::BadRequest;
use crate::head::SubscriptionHead;
use crate::hub::{HubRequest, Refused};
use crate::metrics::Resume;

impl Request {
    /// Parses a head by the rules of Mercure, the same for every front end. A cookie of a page that may not send one
    /// counts as absent.
    pub(crate) fn of_hub(
        head: &SubscriptionHead<'_>,
        page: Page,
        settings: &Settings,
        spaces: &Spaces,
    ) -> Result<Self, BadRequest> {
        let (authorization, query) = (head.authorization, head.query);
        let carriers = Carriers { authorization, cookies: &head.cookie, query };
        let asked = Head { carriers, last_event_id: head.last_event_id };
        let allowed = settings.is_query_token_allowed;
        let parsed = Subscription::parse(&asked, &settings.hub, allowed);
        let mut subscription = parsed.map_err(|bad| Refused {
            refusal: bad.into(),
            dialect: Subscription::dialect_of(query).unwrap_or(Dialect::V0),
            hub: settings.hub.clone(),
        })?;
        subscription.token = subscription
            .token
            .filter(|token| token.carrier != Carrier::Cookie || page == Page::Allowed);
        let mut manner = Manner { control: Control::Mute, ..Manner::default() };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if name == "control" && value != "off" {
                manner.set_control(&value)?;
            }
        }
        let space = &settings.space;
        let exact: Option<Vec<_>> = subscription.selectors.iter().map(Selector::exact).collect();
        let parts = match exact {
            Some(texts) => {
                spaces.parts(texts.into_iter().map(|text| space.name(text)).collect(), Vec::new())
            }
            None => {
                let everything = Pattern::new(&format!("{}**", space.as_str()))?;
                spaces.parts(Vec::new(), vec![everything])
            }
        };
        let resume = match &subscription.cursor {
            None => Resume::None,
            Some(_) if head.last_event_id.is_some_and(|id| !id.is_empty()) => Resume::Header,
            Some(_) => Resume::Query,
        };
        // For a client with control events, which gets it back when it is refused.
        let cursor = match &subscription.cursor {
            Some(Cursor::After(id)) => Some(id.to_string()),
            _ => None,
        };
        Ok(Self {
            parts: parts?,
            begin: Begin::Latest,
            cursor,
            resume,
            style: Style::default(),
            form: Form::Stream(manner),
            ticket: None,
            renew: Renew::default(),
            presence: PresenceWish::default(),
            trace: head.traceparent.and_then(trace_of),
            hub: Some(Box::new(HubRequest { subscription })),
        })
    }
}
