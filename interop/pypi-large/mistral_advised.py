import sys

import httpx
from resume import resuming_client
from mistralai.client import Mistral

url = sys.argv[1]

client = Mistral(api_key="-", client=resuming_client(httpx, url))
messages = [{"role": "user", "content": "-"}]
for event in client.chat.stream(model="-", messages=messages):
    print(event.data.choices[0].delta.content)
