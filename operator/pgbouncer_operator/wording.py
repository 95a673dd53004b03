"""Words of messages. Pure."""


def counted(number: int, noun: str) -> str:
    """A number with its noun: "1 pod", "2 pods"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def needs(number: int, noun: str) -> str:
    """A number with its noun and the verb: "1 pod needs", "2 pods need"."""
    return f"{counted(number, noun)} {'needs' if number == 1 else 'need'}"
