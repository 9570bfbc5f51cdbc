def topic_client(httpx, url):
    """Returns an HTTP client whose answer to every request of an SDK is the stream of a topic."""

    class Transport(httpx.BaseTransport):
        def handle_request(self, request):
            return httpx.HTTPTransport().handle_request(httpx.Request("GET", url))

    return httpx.Client(transport=Transport())


def topic_async_client(httpx, url):
    """Returns the same for an SDK that needs an `AsyncClient`."""

    class Transport(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request):
            return await httpx.AsyncHTTPTransport().handle_async_request(httpx.Request("GET", url))

    return httpx.AsyncClient(transport=Transport())
