import sys

from requests_sse import EventSource

url = sys.argv[1]

with EventSource(url) as source:
    for event in source:
        print(event.data)
