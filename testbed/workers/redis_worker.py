"""A worker of a Redis list with the bug: it takes a job and hangs. Its metrics say how many it has done.

    python testbed/workers/redis_worker.py --redis 6379 --queue mail --metrics 9100 --mode hangs

It writes `working` once it serves its metrics, and ends on SIGTERM.
"""

import argparse
import signal
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import BinaryIO

MODES = {"healthy": "does 5 jobs a second", "hangs": "takes one job and never ends it"}
JOBS_PER_SECOND = 5.0
DONE: dict[str, int] = {}


def ask(stream: BinaryIO, *words: str) -> list[bytes]:
    """One command of Redis' protocol; the lines of its answer that hold a value."""
    stream.write(f"*{len(words)}\r\n".encode() + b"".join(f"${len(word)}\r\n{word}\r\n".encode() for word in words))
    stream.flush()
    line = stream.readline()
    if line[:1] == b"$":
        return [stream.readline().strip()] if line != b"$-1\r\n" else []
    return [line[1:].strip()]


class Metrics(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        lines = "".join(f'jobs_done_total{{queue="{queue}"}} {count}\n' for queue, count in DONE.items())
        body = f"# TYPE jobs_done_total counter\n{lines}".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep it out of the test's output."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, epilog="; ".join(f"{mode}: {what}" for mode, what in MODES.items()))
    parser.add_argument("--redis", type=int, required=True)
    parser.add_argument("--metrics", type=int, required=True)
    parser.add_argument("--queue", required=True)
    parser.add_argument("--mode", choices=MODES, default="healthy")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda _signal, _frame: sys.exit(0))
    DONE[given.queue] = 0
    server = ThreadingHTTPServer(("127.0.0.1", given.metrics), Metrics)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print("working", flush=True)
    with socket.create_connection(("127.0.0.1", given.redis)) as line, line.makefile("rwb") as stream:
        while True:
            job = ask(stream, "LPOP", given.queue)
            if job and given.mode == "hangs":
                signal.pause()
            DONE[given.queue] += len(job)
            time.sleep(1 / JOBS_PER_SECOND)


if __name__ == "__main__":
    main()
