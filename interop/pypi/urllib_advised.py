import http.client
import sys
import time
import urllib.error
import urllib.request

url = sys.argv[1]


def subscribe(url):
    """Yields (type, data) of every event once, over any number of connections, until the topic ends."""
    last_id, pause = "", 2.0
    while True:
        request = urllib.request.Request(url, headers={"Last-Event-ID": last_id} if last_id else {})
        try:
            with urllib.request.urlopen(request, timeout=45) as response:
                if response.status == 204:
                    return
                last_id = last_id or response.headers.get("Tailwater-Cursor", "")
                fields = {}
                for line in response:
                    name, _, value = line.decode().rstrip("\n").partition(":")
                    value = value.removeprefix(" ")
                    if name == "data" and "data" in fields:
                        fields["data"] += "\n" + value
                    elif name:
                        fields[name] = value
                    elif line == b"\n":
                        last_id = fields.get("id", last_id)
                        pause = int(fields.get("retry", pause * 1000)) / 1000
                        if "data" in fields:
                            yield fields.get("event", "message"), fields["data"]
                        fields = {}
        except urllib.error.HTTPError as error:
            if error.code not in (429, 502, 503, 504):
                raise
        except (OSError, http.client.HTTPException):
            pass  # the connection broke
        time.sleep(pause)


for _, data in subscribe(url):
    print(data)
