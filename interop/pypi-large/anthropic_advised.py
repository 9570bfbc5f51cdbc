import sys

import httpx2
from anthropic import Anthropic
from resume import resuming_client

url = sys.argv[1]

client = Anthropic(api_key="-", http_client=resuming_client(httpx2, url))
for event in client.messages.create(model="-", max_tokens=1, messages=[], stream=True):
    print(event.delta.text)
