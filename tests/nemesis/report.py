"""The table at the end of a campaign. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence

from tests.nemesis.promises import Event, Promise, Verdict

COUNTED = (Promise.FAILED, Promise.REFUSED, Promise.BUDGET, Promise.FENCE, Promise.READY)
HEADS = ("event", "times", "not done", "failed", "refused", "over budget", "fenced", "late", "excused", "Ready after")


def table(events: Sequence[Event], verdicts: Sequence[Verdict], recovered: Mapping[int, float]) -> str:
    """A line for each kind: how often it happened, and what broke after it. recovered: seconds by event number."""
    rows = [HEADS]
    for kind in sorted({each.kind for each in events}):
        own = [each for each in events if each.kind == kind]
        broken: Counter[Promise] = Counter()
        excused = 0
        for verdict in verdicts:
            if verdict.event is not None and verdict.event.kind == kind:
                if verdict.excused:
                    excused += verdict.breach.count
                else:
                    broken[verdict.breach.promise] += verdict.breach.count
        seconds = [recovered[each.number] for each in own if each.number in recovered]
        after = f"{max(seconds):.0f} s" if seconds else ""
        undone = sum(bool(each.trouble) for each in own)
        counts = (len(own), undone, *(broken[promise] for promise in COUNTED), excused)
        rows.append((kind, *(str(count or "") for count in counts), after))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def never_done(events: Sequence[Event]) -> list[str]:
    """Kinds that could not be done a single time: nothing is known of them."""
    kinds = {each.kind for each in events}
    return sorted(kinds - {each.kind for each in events if not each.trouble})


def faults(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """What broke without a stated exception."""
    return [each for each in verdicts if not each.excused]
