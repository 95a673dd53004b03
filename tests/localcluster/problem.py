"""The one error that the commands show without a traceback."""


class Problem(Exception):
    """What is wrong and what to do about it, in words for the person who typed the command."""
