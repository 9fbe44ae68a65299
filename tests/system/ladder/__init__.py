"""The way from the restart to the remedy `park` on real brokers, with all of Unstick and whatever may die on it. Only
Rundeck is a stand-in.

python -m tests.system.ladder --version 4.3        prints a line for each scenario
"""
