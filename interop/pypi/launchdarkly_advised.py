import sys

from ld_eventsource import SSEClient
from ld_eventsource.config import ErrorStrategy, RetryDelayStrategy

url = sys.argv[1]

client = SSEClient(
    url,
    error_strategy=ErrorStrategy.always_continue(),
    retry_delay_strategy=RetryDelayStrategy.default(backoff_multiplier=1),
)
for event in client.events:
    if event.event == "tailwater.end":
        break
    if not event.event.startswith("tailwater."):
        print(event.data)
