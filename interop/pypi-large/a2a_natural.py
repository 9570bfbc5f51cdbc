import asyncio
import sys

import httpx
from a2a.client.transports.jsonrpc import JsonRpcTransport
from a2a.types.a2a_pb2 import AgentCard, SubscribeToTaskRequest
from plain import topic_async_client

url = sys.argv[1]


async def main():
    transport = JsonRpcTransport(topic_async_client(httpx, url), AgentCard(), url)
    async for update in transport.subscribe(SubscribeToTaskRequest(id="task")):
        for part in update.artifact_update.artifact.parts:
            print(part.text)


asyncio.run(main())
