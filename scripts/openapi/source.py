"""The parts of the Rust code that the document has to repeat: routes, codes of errors, control events.

They are found by the forms in which the code writes them. A route in a form that is not known is an error.
"""

import re
from pathlib import Path

HUB = "the hub of the Mercure protocol, which its specification describes"
# Arguments of `.route(` that name no route of the API, each with its reason.
NO_API = {
    ("crates/gateway/src/console.rs", '"/"'): "the page of the console",
    ("crates/gateway/src/console.rs", "path"): "the files of the console",
    ("crates/relay/src/demo.rs", "path"): "the files of the relay's page",
    ("crates/ingest/src/cross_origin.rs", "path"): "preflights, at paths that are routes already",
    ("crates/gateway/src/door.rs", "hub::PATH"): HUB,
    ("crates/gateway/src/door.rs", "&settings.hub.metadata_path()"): HUB,
    ("crates/ingest/src/lib.rs", "HUB"): HUB,
}
# Routes that are read from the path before the router, each with its reason.
BEFORE_ROUTER = {
    "/v1/topics/{topic}/subscribers": "a topic has slashes, so no pattern of the router ends behind one",
}
CONTROL_FILES = ("crates/gateway/src/control.rs", "crates/gateway/src/presence.rs")
CODE_FILES = ("crates/gateway/src/error.rs", "crates/ingest/src/error.rs", "crates/cors/src/site.rs")

ROUTE = re.compile(r"\.route\(\s*([^,\s]+),")
ARM = re.compile(r'=>\s*"([a-z]+(?:_[a-z]+)*)",')
WITH_STATUS = re.compile(r'StatusCode::[A-Z_]+,\s*"([a-z]+(?:_[a-z]+)*)"')
CONTROL_EVENT = re.compile(r'"(tailwater\.[a-z]+)"')


class Source:
    """The Rust code of a tree, without its tests."""

    def __init__(self, root):
        self.root = Path(root)
        self.files = {}
        for path in sorted(self.root.glob("crates/*/src/**/*.rs")):
            if path.stem != "tests" and "tests" not in path.parts:
                name = str(path.relative_to(self.root))
                self.files[name] = path.read_text().split("#[cfg(test)]\nmod tests")[0]

    def routes(self):
        """The paths of all routes, as OpenAPI writes them."""
        paths = set(BEFORE_ROUTER)
        for name, text in self.files.items():
            for argument in ROUTE.findall(text):
                if (name, argument) not in NO_API:
                    paths.add(re.sub(r"\{\*", "{", self.path(name, argument)))
        return paths

    def path(self, name, argument):
        """The text of a path that is a literal, or a constant of this file or of a module beside it."""
        if argument.startswith('"'):
            return argument.strip('"')
        *modules, constant = argument.split("::")
        if modules:
            name = str(Path(name).parent / f"{modules[-1]}.rs")
        found = re.search(rf'const {constant}: &str =\s*"([^"]+)"', self.files.get(name, ""))
        if not found:
            raise LookupError(f"{name}: .route({argument}, …) names a path in a form that source.py does not know")
        return found[1]

    def codes(self):
        """The codes of all errors."""
        codes = set()
        for name in CODE_FILES:
            codes.update(ARM.findall(self.files[name]))
        for name, text in self.files.items():
            if name.startswith("crates/gateway/src/"):
                codes.update(WITH_STATUS.findall(text))
        return codes

    def control_events(self):
        return {kind for name in CONTROL_FILES for kind in CONTROL_EVENT.findall(self.files[name])}
