"""The mail service where no RabbitMQ can be had: it says on its output what it would do to the queue.

    python -m demo.stand_in_application stuck 12 --relay 2525

`consuming`, then for each message `took`, and `acknowledged` unless it has the bug: then it waits for the mail server's reply for
ever. It ends on SIGTERM.
"""

from __future__ import annotations

import signal
import sys
import time

from tests.support.workers.stuck_consumer import deliver

PACE_S = 0.002


def main() -> None:
    """Take the messages in their order, at a pace that a look can follow."""
    mode, messages, relay = sys.argv[1], int(sys.argv[2]), int(sys.argv[4])
    print("consuming", flush=True)
    for _ in range(messages):
        print("took", flush=True)
        if mode == "stuck":
            deliver(relay)
        time.sleep(PACE_S)
        print("acknowledged", flush=True)
    signal.pause()


if __name__ == "__main__":
    main()
