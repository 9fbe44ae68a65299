from functions.adapters.symptoms.rabbitmq.client import Settings, check, look, look_all

__all__ = ["Settings", "check", "look", "look_all"]
