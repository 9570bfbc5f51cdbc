import httpx


class TopicTransport(httpx.BaseTransport):
    """A transport that answers every request of an SDK with the stream of a topic."""

    def __init__(self, url):
        self.url = url
        self.inner = httpx.HTTPTransport()

    def handle_request(self, request):
        return self.inner.handle_request(httpx.Request("GET", self.url))
