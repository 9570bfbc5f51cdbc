import sys

import httpx
from openai import OpenAI
from plain import TopicTransport

url = sys.argv[1]

client = OpenAI(api_key="-", http_client=httpx.Client(transport=TopicTransport(url)))
for chunk in client.chat.completions.create(model="-", messages=[], stream=True):
    print(chunk.choices[0].delta.content)
