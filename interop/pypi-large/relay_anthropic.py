"""A message of Anthropic's API, put together by its client."""

import sys

from anthropic import Anthropic

client = Anthropic(api_key="sk-1", base_url=sys.argv[1].rstrip("/"), max_retries=0)
request = {"model": "m", "max_tokens": 500, "messages": [{"role": "user", "content": "-"}]}
with client.messages.stream(**request) as stream:
    message = stream.get_final_message()
print(message.content[0].text + message.stop_reason)
