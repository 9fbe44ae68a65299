"""Some ninety small applications on one real broker, and beside each the truth: whether it may, must or must not be restarted.

python -m tests.system.town --version 4.3 --minutes 30        prints a line for each
"""
