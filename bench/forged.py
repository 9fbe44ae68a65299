"""`python -m bench.forged SOURCE COUNT < BODY`: a function is started and refuses the same forged request COUNT times.

In this process and without a server, which is the same for every function. Prints the statuses that were answered.
"""

from __future__ import annotations

import os
import sys
import time
from io import BytesIO
from typing import Any

import functions_framework
from werkzeug.test import EnvironBuilder


def main() -> int:
    """The request is made once, so that what is counted for each is the framework's and the function's."""
    app = functions_framework.create_app("webhook", sys.argv[1])
    body, statuses = sys.stdin.buffer.read(), set()
    headers = {
        "Content-Type": "application/json",
        "X-Grafana-Alerting-Signature": "0" * 64,
        "X-Grafana-Alerting-Timestamp": str(int(time.time())),
    }
    request = EnvironBuilder(method="POST", data=body, headers=headers).get_environ()

    def start_response(status: str, *_: Any) -> None:
        statuses.add(status[:3])

    for _ in range(int(sys.argv[2])):
        answer = app.wsgi_app(request | {"wsgi.input": BytesIO(body)}, start_response)
        list(answer)
        answer.close()
    print(" ".join(sorted(statuses)), flush=True)
    return 0


if __name__ == "__main__":
    os._exit(main())  # what an interpreter does at its end, such as a last look for garbage, is no part of a start
