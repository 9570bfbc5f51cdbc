import asyncio
import sys

import aiohttp
from aiohttp_sse_client2.client import EventSource

url = sys.argv[1]


async def subscribe(url):
    """Yields every event once, over any number of connections, until the topic ends."""
    last_id = ""
    timeout = aiohttp.ClientTimeout(total=None, sock_read=45)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        while True:
            headers = {"Last-Event-ID": last_id} if last_id else {}
            try:
                async with EventSource(url, session=session, headers=headers) as source:
                    async for event in source:
                        last_id = event.last_event_id
                        yield event
                return
            except aiohttp.ClientError:
                pass  # the connection broke, which the library does not expect
            except ConnectionError as error:  # the text has the status
                if ": 204: " in str(error):
                    return
                if not any(f": {status}: " in str(error) for status in (429, 502, 503, 504)):
                    raise
            await asyncio.sleep(2)


async def main():
    async for event in subscribe(url):
        print(event.data)


asyncio.run(main())
