"""A secret that may have been replaced."""


class Secret:
    """What is read first, and what after each `distrust`, the last again and again. An error is raised."""

    reference = "env://SECRET"

    def __init__(self, *values: bytes | Exception) -> None:
        self.values = values
        self.distrusted = 0

    def read(self) -> bytes:
        value = self.values[min(self.distrusted, len(self.values) - 1)]
        if isinstance(value, Exception):
            raise value
        return value

    def distrust(self) -> None:
        self.distrusted += 1
