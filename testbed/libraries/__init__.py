"""Applications that use real client libraries, as processes of an environment of their own.

with Application("celery", "retry", url, "mail.work") as running:
    running.held        # when it began to hang
"""

from testbed.libraries.application import Application
from testbed.libraries.environment import reason_against
from testbed.libraries.messages import message_of

__all__ = ["Application", "message_of", "reason_against"]
