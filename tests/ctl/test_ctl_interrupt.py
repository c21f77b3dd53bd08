"""Ctrl-C strikes while a client waits for bytes, and never between reading and understanding."""

import os
import signal
import threading

import pytest

from affs_ctl.interrupt import Interrupts


@pytest.fixture
def ends() -> object:
    read, write = os.pipe()
    yield read, write
    os.close(read)
    os.close(write)


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


def test_an_interrupt_between_two_waits_is_raised_by_the_next(ends: tuple[int, int]) -> None:
    interrupts = Interrupts()
    os.write(ends[1], b"x")
    with interrupts:
        interrupt()
        done = "this work is not torn"
        with pytest.raises(KeyboardInterrupt):
            interrupts.wait(ends[0], 10)
        assert interrupts.wait(ends[0], 0), "nothing was read, and one interrupt is one"
    assert done


def test_an_interrupt_while_it_waits(ends: tuple[int, int]) -> None:
    interrupts = Interrupts()
    timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT))
    with interrupts:
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            interrupts.wait(ends[0], None)
    timer.join()


def test_a_second_interrupt_does_not_wait() -> None:
    with Interrupts():
        interrupt()
        with pytest.raises(KeyboardInterrupt):
            interrupt()


def test_the_handler_of_before_comes_back(ends: tuple[int, int]) -> None:
    before = signal.getsignal(signal.SIGINT)
    interrupts = Interrupts()
    with interrupts:
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before
    assert not interrupts.wait(ends[0], 0.0)


def test_in_a_thread_that_gets_no_signals(ends: tuple[int, int]) -> None:
    found: list[bool] = []

    def work() -> None:
        interrupts = Interrupts()
        with interrupts:
            found.append(interrupts.wait(ends[0], 0.0))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(10)
    assert found == [False]
