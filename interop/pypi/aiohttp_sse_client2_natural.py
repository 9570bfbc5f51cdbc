import asyncio
import sys

from aiohttp_sse_client2.client import EventSource

url = sys.argv[1]


async def main():
    async with EventSource(url) as source:
        async for event in source:
            print(event.data)


asyncio.run(main())
