"""How the benchmark says that it cannot go on: one message for people, which names the fix."""


class CannotMeasure(Exception):
    """Something needed is missing or answered wrongly."""


class NotInstalled(CannotMeasure):
    """An optional contestant is not there; the others are still worth measuring."""
