"""infra/rundeck/move.py on real brokers: which message it moves, what it refuses, and what is left where something dies.

python -m tests.system.ladder.moves [--version 3.10|4.0|4.3] [--runs N]
"""
