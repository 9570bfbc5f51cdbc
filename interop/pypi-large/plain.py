def topic_client(httpx, url):
    """Returns an HTTP client whose answer to every request of an SDK is the stream of a topic."""

    class Transport(httpx.BaseTransport):
        def handle_request(self, request):
            return httpx.HTTPTransport().handle_request(httpx.Request("GET", url))

    return httpx.Client(transport=Transport())
