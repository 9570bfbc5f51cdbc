"""A response breaks off after 100 tokens, and goes on through another relay."""

import sys

from openai import OpenAI

first, second = (OpenAI(api_key="sk-1", base_url=f"{url}/v1", max_retries=0) for url in sys.argv[1:])

text, count = "", 0
with first.responses.create(model="m", input="-", stream=True) as events:
    for event in events:
        last = event.sequence_number
        if event.type == "response.created":
            id = event.response.id
        if event.type == "response.output_text.delta":
            text += event.delta
            count += 1
            if count == 100:
                break
for event in second.responses.retrieve(id, stream=True, starting_after=last):
    if event.type == "response.output_text.delta":
        text += event.delta
print(text)
