"""What a judgement may take is bounded: a loop and a greedy reader become violations or errors."""

import resource
import signal
from functools import partial

import pytest

from affs_tools.crashsim.bounds import Violation, in_time, with_memory
from affs_tools.crashsim.device import Image
from affs_tools.crashsim.explore import Tally, judge_each

STEPS = (("commit",),)


def loop() -> str:
    while True:
        pass


def test_a_loop_is_a_violation_of_the_one_that_loops() -> None:
    before = signal.getsignal(signal.SIGPROF)
    with pytest.raises(Violation, match="more than"), in_time(0.01):
        loop()
    assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGPROF) is before


def test_no_handler_of_errors_swallows_the_end_of_the_time() -> None:
    def careless() -> None:
        while True:
            try:
                loop()
            except Exception:  # noqa: BLE001 - what is tested
                continue

    with pytest.raises(Violation), in_time(0.01):
        careless()


def test_more_memory_than_allowed_is_an_error_and_the_limit_goes() -> None:
    before = resource.getrlimit(resource.RLIMIT_AS)
    with with_memory(16 << 20):
        with pytest.raises(MemoryError):
            bytearray(64 << 20)
        assert len(bytearray(1 << 20)) == 1 << 20
    assert resource.getrlimit(resource.RLIMIT_AS) == before


def test_each_is_judged_alone_and_leaves_the_image_as_it_was() -> None:
    image, tally = Image(1 << 20), Tally()

    def put(text: bytes) -> str:
        assert image.content[:4] == bytes(4)
        image.put(0, text)
        if text == b"fail":
            raise Violation("it fails")
        if text == b"odd.":
            raise KeyError(text)
        return text.decode()

    names = ("good", "fail", "odd.", "fine")
    judge_each(image, tally, [(name, partial(put, name.encode())) for name in names], STEPS)
    assert tally.states == 4
    assert dict(tally.outcomes) == {"good": 1, "fine": 1}
    assert [(one.replay, one.message) for one in tally.failures] == [
        ("fail", "it fails"), ("odd.", "KeyError(b'odd.')"),
    ]  # fmt: skip
    assert tally.failures[0].steps == STEPS
    assert image.content[:4] == bytes(4)
