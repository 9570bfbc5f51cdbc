import sys

import httpx
from openai import OpenAI
from resume import resuming_client

url = sys.argv[1]

client = OpenAI(api_key="-", http_client=resuming_client(httpx, url))
for chunk in client.chat.completions.create(model="-", messages=[], stream=True):
    print(chunk.choices[0].delta.content)
