"""Hooks of schemathesis, for requests that would wait, and for rules that no schema can say."""

import re
import zlib

import schemathesis
from schemathesis.core import NotSet
from schemathesis.core.failures import AcceptedNegativeData

import bodies  # noqa: F401, which registers what it has

PUBLICATIONS = ("POST /v1/events", "PUT /v1/events")
SUBSCRIPTIONS = ("GET /v1/events", "HEAD /v1/events", "POST /v1/subscriptions")
# The forms of bodies that stream events, and those that hold several.
STREAMED = ("/x-ndjson", "/event-stream")
SEVERAL = (*STREAMED, "batch+json")


@schemathesis.hook
def before_call(_context, case, _kwargs):
    if case.operation.label in SUBSCRIPTIONS:
        subscribe(case)
    if case.operation.label in PUBLICATIONS:
        publish(case)


def publish(case):
    """Lets query and headers go with the form of the body."""
    # The query needs a topic, unless the body names topics. Many events get this one, so it does not end.
    if "topic" not in case.query:
        case.query["topic"] = "explored"
        case.query.pop("end", None)
    media_type = case.media_type or ""
    if "cloudevents" in media_type:
        case.query.pop("type", None)
    if "batch" in media_type:
        case.query.pop("end", None)
    if isinstance(case.body, NotSet) or not media_type.endswith(STREAMED):
        case.query.pop("on-break", None)
    if media_type.endswith(SEVERAL):
        case.headers.pop("Idempotency-Key", None)


def subscribe(case):
    """Makes half of the subscriptions long-polls, and those whose stream may be silent. None waits."""
    parameters = case.body if isinstance(case.body, dict) else case.query
    # By the request, so that a repeated run sends the same.
    dice = zlib.crc32(repr((case.query, case.body)).encode())
    is_stream = dice % 2 and parameters.get("control", "on") == "on"
    case.headers["Accept"] = "text/event-stream" if is_stream else "application/json"
    # Few topics have presence, and a long-poll cannot tell of it.
    if str(parameters.get("presence")) == "1":
        parameters["presence"] = "0"
    if re.fullmatch(r"[1-9]\d*(\.0+)?", str(parameters.get("wait"))) and float(parameters["wait"]) <= 60:
        parameters["wait"] = 0


@schemathesis.hook
def filter_headers(_context, headers):
    """Leaves out control characters, with which a request is no HTTP, and characters that the client cannot send."""
    values = [str(value) for value in (headers or {}).values()]
    return all(value.isprintable() and max(value, default="") <= "\xff" for value in values)


@schemathesis.hook
def filter_failure(_context, failure, case, _response):
    """Lets an invalid event of several pass: it has an error of its own, and the status is 200."""
    return not (isinstance(failure, AcceptedNegativeData) and (case.media_type or "").endswith(SEVERAL))
