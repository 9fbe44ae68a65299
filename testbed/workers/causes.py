"""What an application hangs in: one function a cause. `# here` marks the line that a developer would want to know.

Each gets the port of a server that accepts and never answers, except for `trickle`, whose server sends a byte now and then."""

import concurrent.futures
import fcntl
import json
import queue
import re
import smtplib
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path


def smtp(port: int) -> None:
    smtplib.SMTP("127.0.0.1", port)  # here


def http(port: int) -> None:
    import requests

    requests.get(f"http://127.0.0.1:{port}/", timeout=3600)  # here


def database(port: int) -> None:
    import psycopg

    psycopg.connect(f"host=127.0.0.1 port={port} user=u password=p dbname=d sslmode=disable")  # here


def trickle(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        while connection.recv(1):  # here
            pass


def lock(_port: int) -> None:
    held = threading.Lock()
    held.acquire()
    held.acquire()  # here


def answer(_port: int) -> None:
    queue.Queue[str]().get()  # here


def future(port: int) -> None:
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pool.submit(smtp, port).result()  # here


def child(_port: int) -> None:
    subprocess.run(["sleep", "3600"], check=True)  # here


def file_lock(_port: int) -> None:
    with tempfile.NamedTemporaryFile() as first, Path(first.name).open() as second:
        fcntl.flock(first, fcntl.LOCK_EX)
        fcntl.flock(second, fcntl.LOCK_EX)  # here


def loop(_port: int) -> None:
    while True:  # here
        json.dumps(list(range(9)))


def pattern(_port: int) -> None:
    re.match("(a|a)*b", "a" * 60)  # here


def grandchild(port: int) -> None:
    subprocess.run([sys.executable, __file__, "smtp", str(port)], check=True)


if __name__ == "__main__":
    globals()[sys.argv[1]](int(sys.argv[2]))
