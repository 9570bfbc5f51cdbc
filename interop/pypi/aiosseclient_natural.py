import asyncio
import sys

from aiosseclient import aiosseclient

url = sys.argv[1]


async def main():
    async for event in aiosseclient(url):
        print(event.data)


asyncio.run(main())
