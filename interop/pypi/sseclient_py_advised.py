import sys
import time

import requests
import sseclient

url = sys.argv[1]


def subscribe(url):
    """Yields every event once, over any number of connections, until the topic ends."""
    last_id, pause = "", 2.0
    session = requests.Session()
    session.headers["Accept"] = "text/event-stream"
    while True:
        headers = {"Last-Event-ID": last_id} if last_id else {}
        try:
            with session.get(url, stream=True, headers=headers, timeout=(10, 45)) as response:
                if response.status_code == 204:
                    return
                response.raise_for_status()
                last_id = last_id or response.headers.get("Tailwater-Cursor", "")
                for event in sseclient.SSEClient(response).events():
                    last_id = event.id or last_id
                    pause = int(event.retry) / 1000 if event.retry else pause
                    yield event
        except requests.HTTPError as error:
            if error.response.status_code not in (429, 502, 503, 504):
                raise
        except requests.RequestException:
            pass  # the connection broke
        time.sleep(pause)


for event in subscribe(url):
    print(event.data)
