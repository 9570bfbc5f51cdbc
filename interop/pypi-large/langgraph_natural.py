import sys

import httpx
from langgraph_sdk.client import SyncLangGraphClient
from plain import topic_client

url = sys.argv[1]

client = SyncLangGraphClient(topic_client(httpx, url))
for part in client.runs.join_stream("thread", "run"):
    print(part.data[0]["content"])
