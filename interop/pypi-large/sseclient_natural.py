import sys

from sseclient import SSEClient

url = sys.argv[1]

for event in SSEClient(url):
    print(event.data)
