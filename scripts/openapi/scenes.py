"""Requests that no random exploration finds: every event of a stream, and the statuses that need a history."""

import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import requests

import bodies  # noqa: F401, which registers what it has
from source import BEFORE_ROUTER

# The longest wait for an answer, or for the events of a stream, in seconds.
ANSWER_MAX = 20
STREAM = {"Accept": "text/event-stream"}
POLL = {"Accept": "application/json"}


class Client:
    """Sends requests to a node, and checks each answer against the document."""

    def __init__(self, schema, address, **headers):
        self.schema, self.address, self.headers = schema, address, headers

    def ask(self, label, status, *, events=1, headers=None, **parts):
        """Sends a request that must be answered with a status. Of a stream, so many events are read."""
        self.schema.config.max_stream_events = events
        operation = self.schema.find_operation_by_label(label)
        assert operation, f"the document has no {label}"
        case = operation.Case(headers={**self.headers, **(headers or {})}, **parts)
        response = case.call(base_url=self.address, timeout=ANSWER_MAX)
        asked = f"{label} {parts or ''}"
        assert response.status_code == status, f"{asked}: {response.status_code}, not {status}: {response.text}"
        case.validate_response(response)
        if response.text and response.headers.get("content-type") == ["text/event-stream"]:
            count = response.text.count("\ndata: ")
            assert count >= events, f"{asked}: {count} events of {events}:\n{response.text}"
        return response

    def stream(self, events, headers=None, **query):
        return self.ask("GET /v1/events", 200, events=events, headers={**STREAM, **(headers or {})}, query=query).text

    def poll(self, **query):
        return self.ask("GET /v1/events", 200, headers=POLL, query=query).json()

    def publish(self, data, method="POST", **query):
        answer = self.ask(f"{method} /v1/events", 200, query=query, body=data, media_type="text/plain")
        return answer.json()["id"]


def play(document, schema, node, closed, relay):
    """Plays the scenes, and returns the streams that were read. The open node keeps three events of a topic, and is the
    upstream of the relay."""
    client = Client(schema, node.services)
    seen = streams(client)
    seen += topics(client, node)
    seen += spaces(client)
    seen += presence(client)
    publications(client)
    refusals(document, client)
    access(schema, closed)
    operation(schema, node, closed)
    methods(document, node)
    answers(schema, relay)
    return seen


def drain(schema, node):
    """Reads a stream until the node, which leaves, ends it."""
    client = Client(schema, node.services)
    with ThreadPoolExecutor(1) as readers:
        stream = readers.submit(client.stream, 2, topic=["leaving"])
        laggards = f"{node.admin}/debug/connections"
        wait_until(lambda: "leaving" in requests.get(laggards, timeout=ANSWER_MAX).text, "no stream was opened")
        Client(schema, node.admin).ask("GET /debug/connections", 200)
        node.drain()
        seen = stream.result()
    assert node.has_ended_cleanly(), "the node did not end cleanly"
    return seen


def all_seen(document, seen):
    """Checks that the streams had every control event."""
    kinds = set(re.findall(r"^event: (tailwater\.\w+)$", seen, re.MULTILINE))
    assert kinds == document.control_events(), f"of the control events only {sorted(kinds)} were seen"


def streams(client):
    first, *_rest, last = [client.publish(str(number), topic="scene", type="count") for number in range(5)]
    seen = client.stream(4, topic=["scene"], **{"from": "earliest"})
    seen += client.stream(5, topic=["scene"], last_event_id=[first])
    seen += client.stream(5, topic=["scene"], headers={"Last-Event-ID": first}, envelope="json")
    seen += client.stream(2, topic=["scene"], last_event_id=["nonsense"])
    seen += client.stream(2, topic=["scene"], types=["other"], heartbeat=[3], **{"from": "-1"})
    seen += client.stream(2, topic=["scene"], heartbeat=["event", 3])
    seen += client.stream(1, topic=["scene", "fresh"], last_event_id=[f"scene@{last}"])
    end = client.publish("the end", method="PUT", topic="done", end="true")
    seen += client.stream(6, topic=["done", "scene"], **{"from": "earliest"})
    client.ask("GET /v1/events", 204, headers=STREAM, query={"topic": ["done"], "last_event_id": [end]})
    for control in ("off", "comment"):
        client.stream(3, topic=["scene"], control=control, last_event_id=[first])
    body = {"topic": ["scene", "done"], "from": "earliest", "heartbeat": [5, "event"]}
    client.ask("POST /v1/subscriptions", 200, events=6, headers=STREAM, body=body)
    for accept in (STREAM, POLL):
        client.ask("HEAD /v1/events", 200, headers=accept, query={"topic": ["scene"]})
    answer = client.poll(topic=["scene", "done"], last_event_id=[f"scene@{first}", f"done@{end}"])
    assert len(answer["gaps"]) == 1 and len(answer["events"]) == 3, answer
    assert client.poll(topic=["scene"], wait=1)["events"] == []
    return seen


def topics(client, node):
    """A publisher breaks off, an end is taken back, and a topic is deleted."""
    break_off(node.services, "breaks")
    seen = client.stream(3, topic=["breaks"], **{"from": "earliest"})
    described = client.ask("GET /v1/topics/{topic}", 200, path_parameters={"topic": "breaks"}).json()
    assert described["broken"] is True, described
    client.publish("the end", topic="reopened", end="true")
    with ThreadPoolExecutor(1) as readers:
        stream = readers.submit(client.stream, 3, topic=["reopened", "scene"])
        wait_until(lambda: "reopened" in requests.get(f"{node.admin}/debug/connections", timeout=ANSWER_MAX).text, "no stream")
        again = f"{node.services}/v1/topics/reopened?reopen=true"
        assert requests.post(again, timeout=ANSWER_MAX).json()["duplicate"] is False
        seen += stream.result()
    reopened, nothing = {"topic": "reopened"}, {"topic": "nothing"}
    answer = client.ask("POST /v1/topics/{topic}", 200, path_parameters=reopened, query={"reopen": "true"})
    assert answer.json()["duplicate"] is True, answer.text
    client.ask("POST /v1/topics/{topic}", 404, path_parameters=nothing, query={"reopen": "true"})
    client.ask("DELETE /v1/topics/{topic}", 204, path_parameters=reopened)
    client.ask("DELETE /v1/topics/{topic}", 404, path_parameters=nothing)
    return seen


def spaces(client):
    """Topics that share a log, and subscriptions to patterns of them."""
    first, *_rest = [client.publish(str(number), topic=f"room/{number % 2}") for number in range(6)]
    everything = {"from": "earliest"}
    seen = client.stream(4, topic=["room/**"], **everything)
    seen += client.stream(3, topic=["room/*", "scene"], envelope="json", last_event_id=[f"room/0@{first}"])
    client.stream(1, topic=["room/*"], control="off", last_event_id=[first])
    body = {"topic": ["room/0", "room/*/lines"], "last_event_id": first}
    gap = client.ask("POST /v1/subscriptions", 200, headers=POLL, body=body).json()["gaps"][0]
    assert gap["missed"] is None and gap["missed_at_most"] == 2 and gap["topic"] == "room/**", gap
    shared = client.ask("GET /v1/topics/{topic}", 200, path_parameters={"topic": "room/0"}).json()
    assert shared["space"] == "room/**" and shared["length"] == 3, shared
    client.ask("GET /v1/topics/{topic}", 200, path_parameters={"topic": "room/**"})
    for topic in ("nowhere/*", "room/x*"):
        client.ask("GET /v1/events", 400, query={"topic": [topic]})
        client.ask("POST /v1/subscriptions", 400, body={"topic": topic})
    client.ask("POST /v1/events", 409, query={"topic": "room/0", "end": "true"}, body="x", media_type="text/plain")
    path = {"path_parameters": {"topic": "room/0"}}
    client.ask("POST /v1/topics/{topic}", 409, query={"reopen": "true"}, **path)
    client.ask("DELETE /v1/topics/{topic}", 409, **path)
    return seen


def presence(client):
    """A client comes, watches another one come, is counted with it, and hears that it has left."""
    room = {"topic": ["rooms/1"], "client": "ann"}
    with ThreadPoolExecutor(2) as readers:
        stream = readers.submit(client.stream, 5, presence="1", **room)
        listed = {"path_parameters": {"topic": "rooms/1"}}
        wait_until(lambda: members(client, listed) == ["ann"], "ann is not listed")
        # It ends with its first event.
        client.stream(1, topic=["rooms/1"], client="bob")
        wait_until(lambda: members(client, listed) == ["ann", "bob"], "bob is not listed")
        counts = client.ask("GET /v1/subscribers", 200, query={"topic": "rooms/*"}).json()
        assert counts["topics"] == {"rooms/1": 2}, counts
        seen = stream.result()
    client.ask("GET /v1/events", 400, headers=STREAM, query={"topic": ["scene"], "presence": "1"})
    return seen


def members(client, listed):
    answer = client.ask("GET /v1/topics/{topic}/subscribers", 200, **listed).json()
    return sorted(member["client"] for member in answer["members"])


def break_off(address, topic):
    """Publishes one event of a body that does not end."""
    host, port = address.removeprefix("http://").rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=ANSWER_MAX) as connection:
        line = b'{"data":"cut off"}\n'
        head = f"POST /v1/events?topic={topic} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/x-ndjson\r\n"
        connection.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n{len(line):x}\r\n".encode() + line + b"\r\n")
        answer = b""
        while b'"id"' not in answer:
            part = connection.recv(4096)
            assert part, answer
            answer += part


def publications(client):
    batch = [{"topic": "lines", "data": {"n": 1}, "key": "k"}, {"topic": "lines"}, {"topic": "done", "data": 1}]
    answer = client.ask("POST /v1/events", 200, body=batch, media_type="application/x-ndjson").text
    assert answer.count('"error"') == 2 and answer.count('"id"') == 1, answer
    event = {"specversion": "1.0", "id": "1", "source": "/scene", "type": "t", "subject": "events"}
    for body, kind in ((event, "cloudevents+json"), ([event, {**event, "subject": "done"}, {}], "cloudevents-batch+json")):
        client.ask("POST /v1/events", 200, body=body, media_type=f"application/{kind}")
    binary = {f"ce-{name}": event[name] for name in ("specversion", "source", "type", "subject")}
    for number, more, status in (("2", {}, 200), ("3", {"Prefer": "reply"}, 204)):
        headers = {**binary, "ce-id": number, **more}
        client.ask("POST /v1/events", status, headers=headers, body={"n": 1}, media_type="application/json")
    key = {"Idempotency-Key": "once"}
    for duplicate in (False, True):
        query = {"topic": "keys"}
        once = client.ask("POST /v1/events", 200, query=query, headers=key, body="x", media_type="text/plain")
        assert once.json()["duplicate"] is duplicate, once.text
    for topic, status in (("events", 200), ("nothing", 404)):
        client.ask("GET /v1/topics/{topic}", status, path_parameters={"topic": topic})


def refusals(document, client):
    text = {"body": "x", "media_type": "text/plain"}
    client.ask("POST /v1/events", 409, query={"topic": "done"}, **text)
    client.ask("POST /v1/events", 413, query={"topic": "large"}, body="x" * 300_000, media_type="text/plain")
    client.ask("POST /v1/events", 415, query={"topic": "t"}, headers={"Content-Encoding": "gzip"}, **text)
    client.ask("POST /v1/events", 403, query={"topic": "t"}, headers={"Sec-Fetch-Site": "cross-site"}, **text)
    client.ask("GET /v1/events", 403, query={"topic": ["t"]}, headers={"Host": "elsewhere.example"})
    client.ask("POST /v1/tickets", 404, body={"topics": ["t"]})
    client.ask("DELETE /v1/tickets", 204)
    client.ask("DELETE /v1/tickets", 403, headers={"Sec-Fetch-Site": "cross-site"})
    client.ask("POST /v1/revocations", 404, body={"sub": "ann"})
    client.ask("POST /v1/subscriptions", 413, body={"topic": ["t"], "_": "x" * 300_000})
    for label, aliases in (("GET /v1/events", {"lastEventId"}), ("POST /v1/events", set())):
        message = client.ask(label, 400, query={"topic": ["t"], "unknown": "1"}).json()["error"]["message"]
        known = set(re.split(r", | and ", re.search(r"(?:known|parameters) are (.*)", message)[1]))
        method, path = label.lower().split()
        documented = document.parameters(path, method) - aliases
        assert known == documented, f"{label} takes {sorted(known)}; the document has {sorted(documented)}"


def access(schema, closed):
    nobody, admin = Client(schema, closed.services), Client(schema, closed.services, **closed.bearer("admin"))
    reader = Client(schema, closed.services, **closed.bearer("reader"))
    events, text = {"query": {"topic": ["mine"]}}, {"body": "x", "media_type": "text/plain"}
    publication = {"query": {"topic": "mine"}, **text}
    requests_of_all = (
        ("GET /v1/events", events),
        ("HEAD /v1/events", events),
        ("POST /v1/subscriptions", {"body": {"topic": "mine"}}),
        ("POST /v1/events", publication),
        ("PUT /v1/events", publication),
        ("GET /v1/topics/{topic}", {"path_parameters": {"topic": "mine"}}),
        ("POST /v1/tickets", {"body": {"topics": ["mine"]}}),
        ("POST /v1/revocations", {"body": {"sub": "nobody"}}),
    )
    for label, parts in requests_of_all:
        nobody.ask(label, 401, **parts)
        Client(schema, closed.services, Authorization="Bearer wrong").ask(label, 401, **parts)
        if label not in ("GET /v1/topics/{topic}", "POST /v1/events", "PUT /v1/events"):
            admin.ask(label, 200, **parts)
    reader.ask("GET /v1/events", 403, query={"topic": ["other"]})
    reader.ask("POST /v1/events", 403, **publication)
    reader.ask("POST /v1/tickets", 403, body={"topics": ["other"]})
    reader.ask("POST /v1/revocations", 403, body={"sub": "nobody"})
    ticket = reader.ask("POST /v1/tickets", 200, body={"topics": ["mine"], "cookie": True}).json()["ticket"]
    assert '"ticket"' in nobody.stream(1, topic=["mine"], ticket=ticket)
    query = {"topic": ["mine"], "ticket": ticket, "renew": "cookie"}
    nobody.ask("GET /v1/events", 308, headers=STREAM, query=query)
    nobody.ask("GET /v1/events", 401, query={"topic": ["mine"], "ticket": "wrong"})
    admin.ask("POST /v1/revocations", 200, body={"sub": "the-reader"})
    reader.ask("GET /v1/events", 403, query={"topic": ["mine"]})
    reader.ask("POST /v1/events", 403, **publication)


def operation(schema, node, closed):
    here = Client(schema, node.admin)
    wait_until(lambda: requests.get(f"{node.admin}/readyz", timeout=ANSWER_MAX).ok, "the node is not ready")
    for path in ("/metrics", "/livez", "/readyz"):
        here.ask(f"GET {path}", 200)
        here.ask(f"GET {path}", 403, headers={"Host": "elsewhere.example"})
    here.ask("GET /debug/connections", 200)
    here.ask("GET /debug/connections", 400, query={"limit": "many"})
    here.ask("GET /debug/sources", 200)
    here.ask("GET /debug/sources", 200, headers={"Accept": "text/html"})
    here.ask("GET /debug/log", 403, headers={"Host": "elsewhere.example"})
    levels = here.ask("GET /debug/log", 200).text
    here.ask("PUT /debug/log", 200, body=levels.strip(), media_type="text/plain")
    here.ask("PUT /debug/log", 400, body="gateway=loud", media_type="text/plain")
    here.ask("PUT /debug/log", 413, body="x" * 5000, media_type="text/plain")
    Client(schema, closed.admin).ask("GET /debug/log", 401)
    Client(schema, closed.admin, **closed.bearer("debug")).ask("GET /debug/log", 200)


def methods(document, node):
    """Checks the methods of each path: the answer to a method that no path has names them."""
    # The other methods of these are for a topic whose name ends as they do.
    for path in set(document.content["paths"]) - set(BEFORE_ROUTER):
        port = node.services if path.startswith("/v1") else node.admin
        answer = requests.patch(port + path.replace("{topic}", "t"), timeout=ANSWER_MAX)
        allowed = set(filter(None, re.split(r",\s*", answer.headers.get("Allow", ""))))
        expected = document.methods(path)
        assert answer.status_code == 405 and allowed == expected, (
            f"{path} has {sorted(allowed)}; the document has {sorted(expected)}"
        )


def answers(schema, relay):
    """An answer of the upstream streams, and is cancelled."""
    client = Client(schema, relay.services)
    with requests.get(f"{relay.services}/events?topic=scene", headers=STREAM, stream=True, timeout=ANSWER_MAX) as answer:
        topic = answer.headers["Tailwater-Topic"]
        assert answer.headers["Location"].startswith(f"/v1/events?topic={topic}&"), answer.headers
        for _twice in range(2):
            client.ask("DELETE /v1/events", 204, query={"topic": topic})
    client.ask("DELETE /v1/events", 404, query={"topic": "relay/none"})
    client.ask("DELETE /v1/events", 404, query={"topic": "scene"})
    client.ask("DELETE /v1/events", 400, query={"topic": "a b"})
    client.ask("DELETE /v1/events", 400)
    client.ask("DELETE /v1/events", 403, query={"topic": topic}, headers={"Sec-Fetch-Site": "cross-site"})


def wait_until(is_so, otherwise):
    end = time.monotonic() + ANSWER_MAX
    while not is_so():
        assert time.monotonic() < end, otherwise
        time.sleep(0.05)
