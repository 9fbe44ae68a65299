"""Clients are imported when they are first used, by one thread at a time.

Two threads that import parts of one package may each hold what the other waits for: `import requests.exceptions` locks that
module and then `requests`, while `import requests`, whose first lines import `requests.exceptions`, has them the other way round.
Python ends that by an error in one of the two (importlib, `_ModuleLock`). It happened in one of 150 processes whose first alert
asked Cloud Storage and Secret Manager at the same time; that alert was decided later, from the scheduler.
"""

from __future__ import annotations

import threading

IMPORTING = threading.RLock()
"""Held around each import of a client's package that stands inside a function. It does not cover what a package imports
later by itself, such as google-auth's modules for the credentials that it finds."""
