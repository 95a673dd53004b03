"""promtool, Prometheus' own checker of alerts: `python -m tests.contract.promtool` fetches it."""

from tests.contract.debian import Program

REMEDY = "run `make promtool`, or put the promtool of Prometheus on PATH (Debian's package prometheus has it)"
PROMTOOL = Program("promtool", "prometheus", REMEDY)


def program() -> str:
    """The path of promtool. AssertionError when there is none."""
    return PROMTOOL.path()


if __name__ == "__main__":
    PROMTOOL.install()
