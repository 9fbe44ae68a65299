from functions.adapters.symptoms.rabbitmq.client import Settings, Symptom, check, look, look_all, to_symptom

__all__ = ["Settings", "Symptom", "check", "look", "look_all", "to_symptom"]
