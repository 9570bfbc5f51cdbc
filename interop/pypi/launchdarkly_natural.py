import sys

from ld_eventsource import SSEClient

url = sys.argv[1]

for event in SSEClient(url).events:
    print(event.data)
