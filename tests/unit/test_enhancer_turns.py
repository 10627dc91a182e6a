import asyncio

import pytest

from wanworker.enhancer.errors import DrainingError, QueueFullError
from wanworker.enhancer.turns import TurnQueue


async def test_positions_follow_those_who_leave() -> None:
    queue = TurnQueue(3)
    first, second, third = queue.join(), queue.join(), queue.join()
    assert [turn.position for turn in (first, second, third)] == [0, 1, 2]
    second.leave()
    assert await third.moved(2) == 1
    first.leave()
    assert await third.moved(1) == 0
    assert queue.busy
    assert queue.waiting == 0
    third.leave()
    assert not queue.busy


async def test_a_turn_that_is_not_there_yet_is_waited_for() -> None:
    queue = TurnQueue(1)
    first, second = queue.join(), queue.join()
    waiting = asyncio.create_task(second.moved(1))
    await asyncio.sleep(0)
    assert not waiting.done()
    first.leave()
    assert await waiting == 0


async def test_leaving_twice_lets_only_one_through() -> None:
    queue = TurnQueue(2)
    first, second, third = queue.join(), queue.join(), queue.join()
    first.leave()
    first.leave()
    assert (second.position, third.position) == (0, 1)


@pytest.mark.parametrize("limit", [0, 2])
async def test_no_more_than_the_limit_wait(limit: int) -> None:
    queue = TurnQueue(limit)
    for _ in range(1 + limit):
        queue.join()
    with pytest.raises(QueueFullError) as caught:
        queue.join()
    assert caught.value.metadata == {"limit": str(limit)}


async def test_the_time_to_retry_is_what_a_turn_takes() -> None:
    queue = TurnQueue(0)
    queue.join()
    for _ in range(30):
        queue.took(20.0)
    with pytest.raises(QueueFullError) as caught:
        queue.join()
    assert caught.value.retry_after_seconds == pytest.approx(20.0, abs=0.1)


async def test_draining_waits_for_the_running_one_alone() -> None:
    queue = TurnQueue(2)
    running, waits = queue.join(), queue.join()
    waiting = asyncio.create_task(waits.moved(1))
    draining = asyncio.create_task(queue.drain())
    with pytest.raises(DrainingError):
        await waiting
    waits.leave()
    with pytest.raises(DrainingError):
        queue.join()
    assert not draining.done()
    running.leave()
    await draining


async def test_one_that_was_refused_does_not_get_its_turn() -> None:
    queue = TurnQueue(2)
    running, waits = queue.join(), queue.join()
    draining = asyncio.create_task(queue.drain())
    await asyncio.sleep(0)
    running.leave()
    with pytest.raises(DrainingError):
        await waits.moved(1)
    waits.leave()
    await draining
