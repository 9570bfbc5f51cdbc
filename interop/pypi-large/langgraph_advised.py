import sys

import httpx
from langgraph_sdk.client import SyncLangGraphClient
from resume import resuming_client

url = sys.argv[1]
last_event_id = sys.argv[2] if len(sys.argv) > 2 else None

client = SyncLangGraphClient(resuming_client(httpx, url))
for part in client.runs.join_stream("thread", "run", last_event_id=last_event_id):
    if part.event == "messages":
        print(part.data[0]["content"])
