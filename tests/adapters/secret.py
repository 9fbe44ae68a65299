"""A secret that may have been replaced."""


class Secret:
    """What is read first, and what after each `invalidate`, the last again and again. An error is raised."""

    reference = "env://SECRET"

    def __init__(self, *values: bytes | Exception) -> None:
        self.values = values
        self.invalidated = 0

    def read(self) -> bytes:
        value = self.values[min(self.invalidated, len(self.values) - 1)]
        if isinstance(value, Exception):
            raise value
        return value

    def invalidate(self) -> None:
        self.invalidated += 1
