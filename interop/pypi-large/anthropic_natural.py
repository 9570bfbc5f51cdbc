import sys

import httpx
from anthropic import Anthropic
from plain import TopicTransport

url = sys.argv[1]

client = Anthropic(api_key="-", http_client=httpx.Client(transport=TopicTransport(url)))
for event in client.messages.create(model="-", max_tokens=1, messages=[], stream=True):
    print(event.delta.text)
