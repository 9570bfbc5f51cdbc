import asyncio
import sys

import aiohttp
from aiosseclient import aiosseclient

url = sys.argv[1]


async def subscribe(url):
    """Yields every event once, over any number of connections, until the topic ends."""
    last_id = None
    while True:
        try:
            async for event in aiosseclient(url, last_id=last_id, raise_for_status=True):
                last_id = event.id or last_id
                if event.event == "tailwater.end":
                    return
                if not event.event.startswith("tailwater."):
                    yield event
        except aiohttp.ClientError:
            pass  # the connection broke
        await asyncio.sleep(2)  # the library does not tell `retry`


async def main():
    async for event in subscribe(url):
        print(event.data)


asyncio.run(main())
