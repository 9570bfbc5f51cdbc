"""Bodies that are streams, which schemathesis cannot send, and of whose lines it checks none."""

import json
import re

import jsonschema_rs
import schemathesis

NDJSON = "application/x-ndjson"


@schemathesis.check
def lines_conformance(_context, response, case):
    """Each line of an NDJSON answer is as its `itemSchema` says."""
    if not response.headers.get("content-type", [""])[0].startswith(NDJSON):
        return
    document = case.operation.schema.raw_schema
    content = content_of(document, case.operation, response.status_code)
    schema = {**content[NDJSON]["itemSchema"], "components": document["components"]}
    validator = jsonschema_rs.Draft202012Validator(schema)
    for line in response.content.decode().splitlines():
        for error in validator.iter_errors(json.loads(line)):
            raise AssertionError(f"the line {line} is not as documented: {error.message}")


def content_of(document, operation, status):
    responses = document["paths"][operation.path][operation.method.lower()]["responses"]
    response = responses[str(status)]
    if "$ref" in response:
        response = document["components"]["responses"][response["$ref"].rsplit("/", 1)[1]]
    return response["content"]


@schemathesis.deserializer(NDJSON)
def first_line(_context, response):
    """The receipt that a link follows."""
    return json.loads(response.text.partition("\n")[0] or "{}")


@schemathesis.serializer(NDJSON)
def ndjson(_context, body):
    return "".join(json.dumps(line) + "\n" for line in items(body)).encode()


@schemathesis.serializer("text/event-stream")
def event_stream(_context, body):
    return "".join(map(event, items(body))).encode()


def items(body):
    return body if isinstance(body, list) else [body]


def event(fields):
    if not isinstance(fields, dict):
        fields = {"data": fields}
    parts = ((name, part) for name, value in fields.items() for part in re.split("\r\n|\r|\n", str(value)))
    return "".join(f"{name}: {part}\n" for name, part in parts) + "\n"
