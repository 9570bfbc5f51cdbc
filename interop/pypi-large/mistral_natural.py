import sys

import httpx
from plain import topic_client
from mistralai.client import Mistral

url = sys.argv[1]

client = Mistral(api_key="-", client=topic_client(httpx, url))
messages = [{"role": "user", "content": "-"}]
for event in client.chat.stream(model="-", messages=messages):
    print(event.data.choices[0].delta.content)
