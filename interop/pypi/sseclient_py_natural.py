import sys

import requests
import sseclient

url = sys.argv[1]

response = requests.get(url, stream=True, headers={"Accept": "text/event-stream"})
for event in sseclient.SSEClient(response).events():
    print(event.data)
