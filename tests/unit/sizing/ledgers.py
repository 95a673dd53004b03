"""What tests of the ledger are made of: terms, pods and ledgers."""

from pgbouncer_operator.protocol.grants import Grant, Grants
from pgbouncer_operator.sizing.ledger import LedgerTerms, PodUse, Round

NONE = Grants(seq=1, static=0, pods={})
NOW = 1_800_000_000  # Unix seconds


def limits(budget: int = 20, floor: int = 1, slots: int = 2, static: int = 6, now: int = NOW) -> LedgerTerms:
    return LedgerTerms(budget, floor, slots, static, now=now)


def follows(uid: str, cap: int, seq: int, open_now: int | None = None, terminating: bool = False) -> PodUse:
    return PodUse(uid, terminating, seq, cap, cap if open_now is None else open_now)


def silent(uid: str, terminating: bool = False) -> PodUse:
    return PodUse(uid, terminating)


def ended(uid: str) -> PodUse:
    return PodUse(uid, terminating=True, ended=True)


def caps(found: Round) -> dict[str, int]:
    return {uid: grant.cap for uid, grant in found.grants.pods.items()}


def ledger(seq: int = 5, static: int = 6, **pods: tuple[int, int, int]) -> Grants:
    return Grants(seq, static, {uid: Grant(*each) for uid, each in pods.items()})
