import asyncio
import re
import time


def resuming_client(httpx, url):
    """Returns an HTTP client for an SDK, of `httpx` or of `httpx2`, which is compatible.

    Its answer to every request is the stream of a topic, which goes on over any number of connections and
    ends when the topic does. It begins after the id that the SDK sends, if it sends one. The URL has
    `control=off`.
    """

    class Transport(httpx.BaseTransport):
        def handle_request(self, request):
            return _answer(httpx, url, request)

    return httpx.Client(transport=Transport(), base_url=url)


def resuming_async_client(httpx, url):
    """Returns the same for an SDK that needs an `AsyncClient`. A thread reads the topic."""

    class Transport(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request):
            return _answer(httpx, url, request)

    return httpx.AsyncClient(transport=Transport(), base_url=url)


def _answer(httpx, url, request):
    class Stream(httpx.SyncByteStream, httpx.AsyncByteStream):
        def __iter__(self):
            return _blocks(httpx, url, request.headers.get("Last-Event-ID", ""))

        async def __aiter__(self):
            blocks = iter(self)
            while block := await asyncio.to_thread(next, blocks, None):
                yield block

    return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=Stream())


def _blocks(httpx, url, last_id):
    """Yields whole events. One that was cut off comes again, because its id was not kept."""
    pause = 2.0
    with httpx.Client(timeout=httpx.Timeout(10, read=45)) as client:
        while True:
            headers = {"Last-Event-ID": last_id} if last_id else {}
            try:
                with client.stream("GET", url, headers=headers) as response:
                    if response.status_code == 204:
                        return
                    response.raise_for_status()
                    last_id = last_id or response.headers.get("Tailwater-Cursor", "")
                    text = ""
                    for part in response.iter_text():
                        *blocks, text = (text + part).split("\n\n")
                        for block in blocks:
                            if found := re.search(r"^id: (.*)$", block, re.MULTILINE):
                                last_id = found[1]
                            if found := re.search(r"^retry: (\d+)$", block, re.MULTILINE):
                                pause = int(found[1]) / 1000
                            yield f"{block}\n\n".encode()
            except httpx.HTTPStatusError as error:
                if error.response.status_code not in (429, 502, 503, 504):
                    raise
            except httpx.TransportError:
                pass  # the connection broke
            time.sleep(pause)
