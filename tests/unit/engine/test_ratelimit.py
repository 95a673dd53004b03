import asyncio

from tests.unit.engine.virtual_time import now, run

from pgbouncer_operator.engine.ratelimit import Backoff, Gate, TokenBucket


def test_the_ceiling_doubles_up_to_the_cap_and_starts_again_after_a_success() -> None:
    backoff = Backoff[str](random=lambda: 1.0)
    assert [backoff.delay("a") for _ in range(10)] == [0.25, 0.5, 1, 2, 4, 8, 16, 32, 60, 60]
    assert backoff.failures("a") == 10
    backoff.forget("a")
    assert backoff.delay("a") == 0.25


def test_a_thousand_failures_do_not_overflow() -> None:
    backoff = Backoff[str](random=lambda: 1.0)
    assert max(backoff.delay("a") for _ in range(2000)) == 60


def test_the_jitter_is_full_and_keys_do_not_share_failures() -> None:
    backoff = Backoff[str](random=lambda: 0.5)
    assert [backoff.delay("a"), backoff.delay("a"), backoff.delay("b")] == [0.125, 0.25, 0.125]


def test_a_bucket_allows_a_burst_and_then_the_rate() -> None:
    clock = [0.0]
    bucket = TokenBucket(rate=2.0, burst=3, clock=lambda: clock[0])
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]
    clock[0] = 1.0
    assert [bucket.take() for _ in range(3)] == [True, True, False]
    clock[0] = 100.0
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]


def test_everybody_waits_for_the_longest_pause() -> None:
    async def scenario() -> float:
        gate = Gate()
        gate.pause(3)
        waiter = asyncio.create_task(gate.wait())
        await asyncio.sleep(1)
        gate.pause(9)
        gate.pause(1)
        await waiter
        return now()

    assert run(scenario()) == 10


def test_an_open_gate_stops_nobody() -> None:
    async def scenario() -> float:
        gate = Gate()
        await gate.wait()
        return gate.remaining() + now()

    assert run(scenario()) == 0
