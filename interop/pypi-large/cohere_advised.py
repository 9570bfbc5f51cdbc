import sys

import cohere
import httpx
from resume import resuming_client

url = sys.argv[1]

client = cohere.ClientV2(api_key="-", httpx_client=resuming_client(httpx, url))
for event in client.chat_stream(model="-", messages=[]):
    print(event.delta.message.content.text)
