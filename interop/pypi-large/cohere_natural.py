import sys

import cohere
import httpx
from plain import topic_client

url = sys.argv[1]

client = cohere.ClientV2(api_key="-", httpx_client=topic_client(httpx, url))
for event in client.chat_stream(model="-", messages=[]):
    print(event.delta.message.content.text)
