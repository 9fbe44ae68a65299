"""Real rabbitmq-servers for tests and the demo: plain processes on loopback with their own nodes, ports and folders.

with broker(folder) as made: ...                            # the host's package
with broker(folder, version="4.3") as made: ...             # of a folder that tools/brokers has made
with cluster(folder, 3, version="4.0") as made: made.kill(made.nodes[0])
"""

from testbed.broker.cluster import PLUGINS, Cluster, broker, cluster
from testbed.broker.node import ADMIN, Application, Broker, consumer
from testbed.broker.ports import free_ports
from testbed.broker.versions import HOST, VERSIONS, add_version, available, program, reason_against

__all__ = [
    "ADMIN", "HOST",
    "PLUGINS", "VERSIONS", "Application", "Broker", "Cluster", "add_version", "available", "broker", "cluster", "consumer",
    "free_ports", "program", "reason_against",
]  # fmt: skip
