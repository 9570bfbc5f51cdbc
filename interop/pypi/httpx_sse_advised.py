import sys
import time

import httpx
from httpx_sse import connect_sse

url = sys.argv[1]


def subscribe(url):
    """Yields every event once, over any number of connections, until the topic ends."""
    last_id, pause = "", 2.0
    with httpx.Client(timeout=httpx.Timeout(10, read=45)) as client:
        while True:
            headers = {"Last-Event-ID": last_id} if last_id else {}
            try:
                with connect_sse(client, "GET", url, headers=headers) as source:
                    if source.response.status_code == 204:
                        return
                    source.response.raise_for_status()
                    last_id = last_id or source.response.headers.get("Tailwater-Cursor", "")
                    for event in source.iter_sse():
                        last_id = event.id or last_id
                        pause = event.retry / 1000 if event.retry else pause
                        yield event
            except httpx.HTTPStatusError as error:
                if error.response.status_code not in (429, 502, 503, 504):
                    raise
            except httpx.TransportError:
                pass  # the connection broke
            time.sleep(pause)


for event in subscribe(url):
    print(event.data)
