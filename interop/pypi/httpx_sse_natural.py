import sys

import httpx
from httpx_sse import connect_sse

url = sys.argv[1]

with httpx.Client() as client, connect_sse(client, "GET", url) as source:
    for event in source.iter_sse():
        print(event.data)
