"""Applications that speak AMQP 1.0 and MQTT: on 4.0 and later the broker counts nothing that they are sent or acknowledge."""

from functools import partial

from testbed.broker import ADMIN
from testbed.workers.amqp10 import Amqp10Consumer
from testbed.workers.mqtt import MqttSubscriber
from tests.system.town.scene import Pattern, Play, Scene, Truth


def amqp10(rate: float, work_s: float) -> Play:
    def play(scene: Scene) -> None:
        scene.enter(_amqp10(scene, work_s=work_s))
        scene.flow(rate)

    return play


def amqp10_held(scene: Scene) -> None:
    scene.other_after = _amqp10(scene, work_s=0.1)
    scene.sleep(scene.place.stuck_after_s)
    scene.publish(5)
    scene.until_held([scene.enter(_amqp10(scene, hangs=True))])


def mqtt(rate: float, work_s: float) -> Play:
    def play(scene: Scene) -> None:
        scene.enter(_mqtt(scene, work_s=work_s))
        scene.place.topics.rates[scene.name] = lambda _since: rate

    return play


def mqtt_held(scene: Scene) -> None:
    scene.other_after = _mqtt(scene, work_s=0.1)
    subscriber = scene.enter(_mqtt(scene, hangs=True))
    scene.sleep(scene.place.stuck_after_s)
    scene.place.topics.rates[scene.name] = lambda _since: 1.0
    scene.until_held([subscriber])
    scene.sleep(10)
    del scene.place.topics.rates[scene.name]


def _amqp10(scene: Scene, *, hangs: bool = False, work_s: float = 0.0) -> partial[Amqp10Consumer]:
    old = scene.place.version.startswith("3.")
    address = f"/amq/queue/{scene.queue}" if old else f"/queues/{scene.queue}"
    return partial(Amqp10Consumer, scene.place.amqp_port, *ADMIN, address, hangs=hangs, work_s=work_s)


def _mqtt(scene: Scene, *, hangs: bool = False, work_s: float = 0.0) -> partial[MqttSubscriber]:
    return partial(MqttSubscriber, scene.place.mqtt_port, *ADMIN, scene.name, scene.name, hangs=hangs, work_s=work_s)


def _speaks(name: str, truth: Truth, says: str, play: Play) -> Pattern:
    return Pattern(name, truth, says, play, counted=False)


PROTOCOLS: tuple[Pattern, ...] = (
    _speaks("amqp10", Truth.HEALTHY, "AMQP 1.0, two a second", amqp10(2, 0.1)),
    _speaks("amqp10-growing", Truth.HEALTHY, "AMQP 1.0, more come than go", amqp10(2, 1.0)),
    _speaks("amqp10-slow", Truth.HEALTHY, "AMQP 1.0, 25 s each", amqp10(0.2, 25.0)),
    _speaks("amqp10-held", Truth.LIKELY, "AMQP 1.0, hangs", amqp10_held),
    _speaks("mqtt", Truth.HEALTHY, "MQTT, two a second", mqtt(2, 0.1)),
    _speaks("mqtt-growing", Truth.HEALTHY, "MQTT, more come than go", mqtt(2, 1.0)),
    _speaks("mqtt-held", Truth.LIKELY, "MQTT, hangs", mqtt_held),
)
SPOKEN = ("rabbitmq_mqtt", "rabbitmq_amqp1_0")
"""The plugins that they need."""


def listener(mqtt_port: int) -> str:
    """The line of rabbitmq.conf with which MQTT is spoken on this port."""
    return f"mqtt.listeners.tcp.1 = 127.0.0.1:{mqtt_port}"
