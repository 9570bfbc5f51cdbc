import sys

import httpx
from resume import ResumingTransport
from mistralai.client import Mistral

url = sys.argv[1]

client = Mistral(api_key="-", client=httpx.Client(transport=ResumingTransport(url)))
messages = [{"role": "user", "content": "-"}]
for event in client.chat.stream(model="-", messages=messages):
    print(event.data.choices[0].delta.content)
