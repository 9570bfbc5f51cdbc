import sys

from requests_sse import EventSource, InvalidStatusCodeError

url = sys.argv[1]

with EventSource(url, timeout=45) as source:
    try:
        for event in source:
            print(event.data)
    except InvalidStatusCodeError as error:
        if error.status_code != 204:  # the topic has ended
            raise
