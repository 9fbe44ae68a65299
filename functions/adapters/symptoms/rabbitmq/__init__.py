from functions.adapters.symptoms.rabbitmq.client import Settings, check, look

__all__ = ["Settings", "check", "look"]
