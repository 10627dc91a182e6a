from wanworker.enhancer.model import Delta, Event
from wanworker.enhancer.worker import DELTA_SECONDS, Deltas


def test_fast_pieces_are_joined_and_slow_ones_are_not() -> None:
    emitted: list[Event] = []
    moment = 0.0
    deltas = Deltas(emitted.append, lambda: moment)
    deltas.add("A")
    assert emitted == [Delta("A")], "the first goes out at once"
    deltas.add(" red")
    moment += DELTA_SECONDS / 2
    deltas.add(" fox")
    assert len(emitted) == 1
    moment += DELTA_SECONDS
    deltas.add(" runs")
    assert emitted[1:] == [Delta(" red fox runs")]
    moment += DELTA_SECONDS
    deltas.add(" and")
    assert emitted[2:] == [Delta(" and")]
    deltas.add(" sits.")
    deltas.flush()
    deltas.flush()
    assert emitted[3:] == [Delta(" sits.")]
