//! `POST` of a Mercure hub: a form becomes an event of the hub's space.
//!
//! The crate `mercure` parses the form, reads the rights of the token, and chooses the status of each refusal of its own. The log,
//! the limits and the errors that ask for a retry are those of all publishers.

use std::sync::Arc;

use access::{Carrier, Page, Patterns, Reason, Right, Rights};
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use event_log::{Append, EventType, Extra, NewEvent, Topic};
use mercure::publication::{self, ANSWER_TYPE, BODY_BYTES_MAX};
use mercure::{BODY_TYPE, Carriers, Claims, Dialect, Refusal, Settings, Token, Update};

use crate::account::Account;
use crate::body::Upload;
use crate::error::{Code, Error, NOSNIFF};
use crate::head;
use crate::publish::Ingest;
use crate::publisher::{self, Publisher};
use crate::wait::{FIRST_BYTES_MAX, Wait};

/// The reason why nothing was published.
enum Failure {
    /// An answer of the protocol.
    Refused(Refusal, Dialect),
    /// An answer of ingest, mostly one that asks for a retry.
    Error(Error),
}

/// A party that publishes, and its rights.
struct Party {
    publisher: Publisher,
    /// `None` if everybody may do everything.
    claims: Option<Claims>,
    dialect: Dialect,
    has_token: bool,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// The handler.
pub(crate) async fn publish(State(ingest): State<Arc<Ingest>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let mut upload = Upload::new(&parts.headers, body);
    let Some(settings) = ingest.config.mercure.clone() else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let mut response = match answer(&ingest, &settings, &parts, &mut upload).await {
        Ok(response) => response,
        Err(failure) => {
            if !matches!(&failure, Failure::Error(error) if is_hasty(error)) {
                upload.discard().await;
            }
            failure.into_response(&settings)
        }
    };
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    ingest.answers.of(response.status().into()).inc();
    response
}

/// Returns true if the rest of the body is not worth the work or the time.
const fn is_hasty(error: &Error) -> bool {
    matches!(error.code(), Code::TooManyRequests | Code::BodyTimeout)
}

async fn answer(
    ingest: &Ingest,
    settings: &Settings,
    parts: &Parts,
    upload: &mut Upload,
) -> Result<Response, Failure> {
    let party = Party::admit(ingest, settings, parts).await?;
    let (publisher, dialect) = (&party.publisher, party.dialect);
    let refused = |refusal: Refusal| Failure::Refused(refusal, dialect);
    let counted = |error: Error| {
        ingest.appender.refused(&error);
        Failure::from(error)
    };
    upload.check_length(BODY_BYTES_MAX).map_err(|error| too_large(&error, dialect))?;
    ingest.first(Wait::FirstBytes, FIRST_BYTES_MAX, publisher, upload).await?;
    let _place = ingest.slots.request(publisher.client).map_err(counted)?;
    let mut account = Account::new(Arc::clone(&ingest.config.rules.memory), publisher.client);
    let time = ingest.config.body_timeout;
    let read = upload.read(BODY_BYTES_MAX, time, &mut account, &ingest.waits);
    let body = publisher.within(read).await.map_err(counted)?;
    let body = body.map_err(|error| match error.code() {
        Code::TooLarge => too_large(&error, dialect),
        _ => counted(error),
    })?;
    let media = parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let update = publication::parse(dialect, media, &body, &settings.hub)
        .map_err(|bad| refused(bad.into()))?;
    drop(body);
    let names: Vec<_> =
        update.topics.iter().map(|topic| settings.space.name(topic.as_str())).collect();
    let publisher = party.permit(settings, &update, &names)?;
    let mut append = append(&update, names);
    append.event.trace = head::trace(&parts.headers);
    let answers = ingest.appender.publish(&publisher, vec![Ok(append)]).await;
    let ack = answers.into_iter().next().expect("one event has one answer")?;
    let id = update.id_at(ack.position);
    Ok(([(CONTENT_TYPE, ANSWER_TYPE)], id.to_string()).into_response())
}

/// An update on its way into the log. `names` are those of its topics, the canonical one first.
fn append(update: &Update, names: Vec<Topic>) -> Append {
    let mut names = names.into_iter();
    let topic = names.next().expect("an update has a topic");
    let extra = Extra { also: names.collect(), attributes: Some(update.attributes().into()) };
    let event = NewEvent {
        // For readers beside the hub, if they know such a type.
        kind: update.kind.as_deref().and_then(|kind| EventType::new(kind).ok()),
        data: update.data.as_str().into(),
        extra: Some(Box::new(extra)),
        ..NewEvent::default()
    };
    let label = update.id.as_ref().map(mercure::Id::label);
    Append { label, ..Append::new(topic, event) }
}

impl Party {
    /// Decides who publishes, before the body is read.
    async fn admit(ingest: &Ingest, settings: &Settings, parts: &Parts) -> Result<Self, Failure> {
        let config = &ingest.config;
        let access = &config.access;
        let nobody = || Publisher::of(parts, config, access.of_everybody());
        let party =
            |publisher, claims, dialect, has_token| Self { publisher, claims, dialect, has_token };
        if access.is_open() {
            return Ok(party(nobody(), None, Dialect::V0, false));
        }
        let cookies = publisher::cookies(parts);
        let authorization = publisher::first(parts, AUTHORIZATION);
        let query = parts.uri.query().unwrap_or_default();
        let carriers = Carriers { authorization, cookies: &cookies, query };
        // Nothing but the token tells the dialect of a publication.
        let token = Token::find(None, carriers, settings.is_query_token_allowed)
            .map_err(|bad| Failure::Refused(bad.into(), Dialect::V0))?;
        let is_foreign = publisher::page(parts, config) == Page::Foreign;
        let token = token.filter(|token| token.carrier != mercure::Carrier::Cookie || !is_foreign);
        let Some(token) = token else {
            // Before the body is read.
            if let Err(denied) = access.of_everybody().check_some(Right::Publish) {
                nobody().refused(denied.reason, "");
                return Err(Failure::Refused(Refusal::no_token(), Dialect::V0));
            }
            return Ok(party(nobody(), Some(Claims::default()), Dialect::V0, false));
        };
        let carrier = match token.carrier {
            mercure::Carrier::Cookie => Carrier::Cookie,
            mercure::Carrier::Header | mercure::Carrier::Query => Carrier::Header,
        };
        let verified = access.admit_foreign(&token.text, carrier).await.map_err(|denied| {
            nobody().audit(denied.reason, "");
            match denied.reason {
                Reason::KeysUnavailable => Failure::Error(denied.into()),
                _ => Failure::Refused(Refusal::bad_token(), Dialect::V0),
            }
        })?;
        let dialect = Dialect::of_claims(&verified.claims).unwrap_or(Dialect::V0);
        let publisher = Publisher::of(parts, config, verified.grant);
        let kind = verified.kind.as_deref();
        let claims = Claims::of_token(&verified.claims, kind, None, &settings.hub);
        let claims = claims.map_err(|bad| {
            tracing::debug!(reason = bad.for_log(), "claims of a token refused");
            publisher.refused(Reason::MalformedClaim, "");
            Failure::Refused(bad.into(), dialect)
        })?;
        Ok(party(publisher, Some(claims), dialect, true))
    }

    /// Checks that the party may publish to all topics of an update: by the rights of the protocol, or by this node's rights to
    /// their names. Returns it with the right to their space.
    fn permit(
        self,
        settings: &Settings,
        update: &Update,
        names: &[Topic],
    ) -> Result<Publisher, Failure> {
        let Self { publisher, claims, dialect, has_token } = self;
        let Some(claims) = claims else { return Ok(publisher) };
        let grant = Arc::clone(&publisher.grant);
        if names.iter().all(|name| grant.allows(Right::Publish, name.as_str())) {
            return Ok(publisher);
        }
        if claims.may_publish(&update.topics) {
            return Ok(publisher.with_grant(Arc::new(grant.with_rights(to_publish(settings)))));
        }
        let (reason, refusal) = match has_token {
            true => (Reason::Topic, Refusal::scope()),
            false => (Reason::NoToken, Refusal::no_token()),
        };
        publisher.refused(reason, names.first().map_or("", |name| name.as_str()));
        Err(Failure::Refused(refusal, dialect))
    }
}

/// The right to publish to the space, for a party whose right to the topics was checked.
fn to_publish(settings: &Settings) -> Rights {
    let space = format!("{}**", settings.space.as_str());
    let publish = Patterns::new([space.as_str()]).expect("a space is the beginning of a pattern");
    Rights { publish, ..Rights::default() }
}

fn too_large(error: &Error, dialect: Dialect) -> Failure {
    Failure::Refused(Refusal::too_large(&error.to_string()), dialect)
}

impl Failure {
    fn into_response(self, settings: &Settings) -> Response {
        let (refusal, dialect) = match self {
            Self::Error(error) => return error.into_response(),
            Self::Refused(refusal, dialect) => (refusal, dialect),
        };
        let status = StatusCode::from_u16(refusal.status(dialect));
        let status = status.expect("the protocol has statuses of HTTP");
        let mut response = (status, [(CONTENT_TYPE, BODY_TYPE)], refusal.body()).into_response();
        let challenge = refusal.challenge(dialect, &settings.hub);
        if let Some(value) = challenge.and_then(|text| HeaderValue::try_from(text).ok()) {
            response.headers_mut().insert(WWW_AUTHENTICATE, value);
        }
        response
    }
}
