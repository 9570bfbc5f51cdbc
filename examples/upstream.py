#!/usr/bin/env python3
"""Stands in for an API of a language model: streams the same answer, a word at a time, to every chat.

    examples/upstream.py

Listens on http://127.0.0.1:8100 (PORT is another port) and answers POST /v1/chat/completions as OpenAI does. Needs
nothing but Python 3.11.
"""

import json
import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ANSWER = """The moon pulls the near side of the earth more than its centre, and its centre more than the far side. \
So the sea stands a little higher on both of these sides: one bulge of water lies towards the moon, the other one away from it.

The earth turns below both bulges once a day, and a coast passes through each of them. That gives two high tides a day, \
with two low tides between. They come about fifty minutes later every day, because the moon has moved on along its \
orbit meanwhile, and the coast needs that time to catch up with it.

The sun does the same with a little less than half of the force. When both pull along one line, at a new and at a full moon, \
the tides are high; when they pull across each other, at the half moons, they are low."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for word in ANSWER.split(" "):
            self.event(json.dumps({"choices": [{"index": 0, "delta": {"content": word + " "}}]}))
            time.sleep(0.08)
        self.event("[DONE]")
        self.wfile.write(b"0\r\n\r\n")

    def event(self, data):
        event = f"data: {data}\n\n".encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
        self.wfile.flush()


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8100"))
    print(f"an upstream at http://127.0.0.1:{port}")
    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
