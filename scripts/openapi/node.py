"""Nodes of their own for the test, `tailwater serve` or `relay`, with the log in their memory, on free ports."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

# The longest time until a node serves, and until it has ended, in seconds.
START_MAX = 20
END_MAX = 20


class Node:
    """A running node. Its files are in `directory`, which somebody else removes."""

    def __init__(self, program, directory, *flags, role="serve"):
        self.log = Path(directory) / "log"
        command = [program, role, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]
        command += ["--log-format", "json", "--log-level", "warn,tailwater::node=info", *flags]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TAILWATER_")}
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, stderr=log, env=environment)
        self.services, self.admin = (f"http://{address}" for address in self.addresses())
        self.tokens = {}

    def addresses(self):
        """Waits until the node serves, and reads its addresses from its log."""
        end = time.monotonic() + START_MAX
        while time.monotonic() < end and self.process.poll() is None:
            for line in self.log.read_text().splitlines():
                fields = json.loads(line) if line.endswith("}") else {}
                fields = fields.get("fields", fields)
                if fields.get("message") == "serving":
                    return fields["listen"], fields["admin"]
            time.sleep(0.05)
        self.process.kill()
        raise RuntimeError(f"the node did not start:\n{self.log.read_text()}")

    def bearer(self, party):
        """The header by which a party is known."""
        return {"Authorization": f"Bearer {self.tokens[party]}"}

    def drain(self):
        """Asks the node to leave."""
        self.process.send_signal(signal.SIGTERM)

    def has_ended_cleanly(self):
        return self.process.wait(END_MAX) == 0

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def open_node(program, directory):
    """A node on which everybody may do everything. It keeps three events of a topic and of the space `room/`, and beats
    every three seconds."""
    leave = ("--drain-delay", "0s", "--drain-window", "1s", "--shutdown-grace", "1s")
    space = ("--space", "room/", "--space-history-events", "3")
    presence = ("--retry", "500ms", "--presence", "rooms/*")
    return Node(program, directory, "--history-events", "3", "--heartbeat", "3s", *space, *presence, *leave)


def relay_node(program, directory, upstream):
    """A relay in front of another node, whose resources it has at the root."""
    return Node(program, directory, "--upstream", f"{upstream.services}/v1", role="relay")


def closed_node(program, directory):
    """A node that demands tokens, for an admin, who may do everything, and a reader, who may read one topic."""
    key, debug = Path(directory) / "key", Path(directory) / "debug"

    def token(*arguments):
        command = [program, "token", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    token("key", "--out", key)
    mint = ("mint", "--key", key, "--sub")
    everything = [part for right in ("subscribe", "publish", "end") for part in (f"--{right}", "**")]
    debug.write_text("let-me-debug\n")
    debug.chmod(0o600)
    node = Node(program, directory, "--auth-keys", f"{key}.pub", "--debug-token-file", debug)
    node.tokens = {
        "admin": token(*mint, "the-admin", *everything, "--admin"),
        "reader": token(*mint, "the-reader", "--subscribe", "mine"),
        "debug": "let-me-debug",
    }
    return node
