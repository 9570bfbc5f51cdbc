"""The document: its own form, its parts beside those of the code, and the stricter form that is tested."""

import copy
import json
from pathlib import Path

import yaml
from schemathesis.specs.openapi.definitions import OPENAPI_32_VALIDATOR


class Document:
    def __init__(self, path):
        # As JSON once, because the anchors of YAML make several places one object.
        self.content = json.loads(json.dumps(yaml.safe_load(Path(path).read_text())))

    def wrong(self, source):
        """Yields each part that is no OpenAPI 3.2, or differs from the code."""
        for error in OPENAPI_32_VALIDATOR.iter_errors(self.content):
            yield f"/{'/'.join(map(str, error.instance_path))}: {error.message}"
        yield from differences("route", source.routes(), set(self.content["paths"]))
        yield from differences("code of an error", source.codes(), self.codes())
        yield from differences("control event", source.control_events(), self.control_events())

    def codes(self):
        """Every code that a schema allows."""
        found = set()
        for node in objects(self.content):
            code = node.get("properties", {}).get("code", {})
            found.update(code.get("enum", []), [code["const"]] if "const" in code else [])
        return found

    def control_events(self):
        events = (schema.get("properties", {}).get("event", {}) for schema in self.schemas())
        return {event["const"] for event in events if "const" in event}

    def schemas(self):
        return self.content["components"]["schemas"].values()

    def parameters(self, path, method):
        """The names of an operation's parameters in the query, credentials included."""
        operation = self.content["paths"][path][method]
        names = set()
        for parameter in operation["parameters"]:
            if "$ref" in parameter:
                parameter = self.content["components"]["parameters"][parameter["$ref"].rsplit("/", 1)[1]]
            if parameter["in"] == "query":
                names.add(parameter["name"])
        for scheme in (name for either in operation["security"] for name in either):
            scheme = self.content["components"]["securitySchemes"][scheme]
            if scheme.get("in") == "query":
                names.add(scheme["name"])
        return names

    def methods(self, path):
        """The methods of a path at a node that is no relay. The node answers HEAD wherever it answers GET."""
        operations = without_relay(self.content)["paths"][path]
        methods = {name.upper() for name in operations} & {"GET", "HEAD", "POST", "PUT", "DELETE"}
        return methods | ({"HEAD"} if "GET" in methods else set())

    def strict(self):
        """A copy in which no object has a member that is not described, so that the test sees each new one.

        A streaming request body is also the array of its items, because schemathesis generates no body from
        `itemSchema` alone.
        """
        strict = copy.deepcopy(self.content)
        for node in objects(strict):
            if node.get("type") == "object" and "properties" in node:
                node.setdefault("additionalProperties", False)
        for body in strict["components"]["requestBodies"].values():
            for media_type in body["content"].values():
                if "itemSchema" in media_type:
                    media_type["schema"] = {"type": "array", "items": media_type["itemSchema"]}
        return strict


def without_relay(document):
    """A copy without the operations of relays, for nodes that are none."""
    rest = copy.deepcopy(document)
    for operations in rest["paths"].values():
        for name in [name for name, operation in operations.items() if is_of_relay(operation)]:
            del operations[name]
    return rest


def without_patterns(document):
    """A copy in which only topics are subscribed to: a random pattern lies in no space."""
    rest = copy.deepcopy(document)
    rest["components"]["schemas"]["Selector"] = {"$ref": "#/components/schemas/Topic"}
    return rest


def is_of_relay(operation):
    return isinstance(operation, dict) and "relay" in operation.get("tags", ())


def differences(kind, code, document):
    for name in sorted(code - document):
        yield f"{kind} {name} is in the code, and not in the document"
    for name in sorted(document - code):
        yield f"{kind} {name} is in the document, and not in the code"


def objects(node):
    """Every object within a JSON value."""
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from objects(child)
