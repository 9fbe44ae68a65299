"""The start of a process."""

import os
import sys

from functions.bootstrap import DEFAULT_PATH, current_config
from functions.config.settings import LOCAL
from functions.entrypoints import http
from functions.runtime import logs
from functions.runtime.errors import ConfigError


def start() -> None:
    """Read the configuration, so that a mistake stops the process, and have each worker run the local scheduler.
    functions-framework loads main.py in a parent process that serves nothing and forks the workers from it; only `--debug`
    serves from the same process."""
    # By default gunicorn takes the headers SCRIPT_NAME and PATH_INFO, as from a proxy, from every process on this machine.
    os.environ.setdefault("FORWARDED_ALLOW_IPS", "")
    try:
        settings = current_config()
    except ConfigError as error:
        for problem in error.problems:
            sys.stderr.write(f"{problem}\n")
        raise SystemExit(2) from None
    http.guard_server()
    if os.environ.get("FUNCTION_TARGET") == "webhook" and settings.scheduler.name == LOCAL:
        os.register_at_fork(after_in_child=_run_local)
        if "--debug" in sys.argv:
            _run_local()
    _say_where()


def _say_where() -> None:
    """Print where functions-framework is about to listen, if its command line says so, and exit if the port is taken.
    functions-framework itself prints nothing; if the port is taken it retries for seconds and ends in a traceback."""
    if not {"--host", "--port"} <= set(sys.argv):
        return
    import socket

    host, port = (sys.argv[sys.argv.index(name) + 1] for name in ("--host", "--port"))
    try:
        socket.create_server((host, int(port)), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        sys.stderr.write(f"can't listen on {host}:{port}: {error.strerror}. Stop what uses it, or use another: PORT=8081.\n")
        raise SystemExit(2) from None
    logs.event("INFO", f"listening on http://{host}:{port}/, configured by {os.environ.get('UNSTICK_CONFIG') or DEFAULT_PATH}")


def _run_local() -> None:
    import threading

    from functions.adapters.schedulers.local import LocalScheduler
    from functions.entrypoints.verify import deliver, sweep_overdue

    scheduler = current_config().scheduler.adapter
    if isinstance(scheduler, LocalScheduler):
        tasks = (deliver, sweep_overdue, threading.Event())
        threading.Thread(target=scheduler.run, args=tasks, daemon=True, name="scheduler").start()
