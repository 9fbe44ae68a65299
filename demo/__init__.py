"""`make demo`: a stuck queue on this machine, restarted and seen to recover.

The story is in __main__.py, what runs in stage.py, and how it looks in screen.py.
"""
