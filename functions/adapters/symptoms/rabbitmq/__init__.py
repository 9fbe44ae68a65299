from functions.adapters.symptoms.rabbitmq.client import check, look, look_all
from functions.adapters.symptoms.rabbitmq.metrics import past_queries
from functions.adapters.symptoms.rabbitmq.settings import Settings, Symptom, name_queue, to_queue, to_symptom

__all__ = ["Settings", "Symptom", "check", "look", "look_all", "name_queue", "past_queries", "to_queue", "to_symptom"]
