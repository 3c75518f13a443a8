"""Ctrl-C and SIGTERM: training finishes its iteration and saves; anything else stops at once.

Python runs a signal's handler in the main thread, and only between two of its own instructions:
not while that thread compiles a program or waits for one. A watching thread therefore says at once
that the signal has come, and ends the process where the main thread does not come back in time.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from envs.physics import host_call

SIGNALS = (signal.SIGINT, signal.SIGTERM)
# Seconds that the main thread has for coming back where there is nothing to save.
GRACE = 2.0


class Interrupted(KeyboardInterrupt):
    """The process was asked to stop.

    Attributes:
        signal: by which signal.
        status: the exit status that says so, as a shell gives it.
    """

    def __init__(self, received: signal.Signals):
        super().__init__(f"interrupted by {received.name}")
        self.signal = received
        self.status = 128 + received


class _Handling:
    """What is known of the signals that came, while they are handled."""

    def __init__(self, advice: Callable[[], str]):
        self.advice = advice
        self.received: signal.Signals | None = None
        self.deferring = False
        self.left = threading.Event()

    def handle(self, number: int, _: object) -> None:
        """Runs in the main thread."""
        self.received = self.received or signal.Signals(number)
        if not self.deferring and not self.left.is_set():
            raise Interrupted(self.received)

    def watch(self, wake_up: socket.socket) -> None:
        """Runs in a thread of its own, until the socket's other end is closed."""
        came = 0
        while numbers := wake_up.recv(64):
            for number in numbers:
                if number not in SIGNALS:
                    continue
                came += 1
                if came > 1 and number == signal.SIGINT:
                    self._end(number, "stopped at once")
                elif came == 1 and self.deferring:
                    _say(
                        f"{signal.Signals(number).name}: finishing this iteration and saving"
                        + ("; Ctrl-C again stops at once" if number == signal.SIGINT else "")
                    )
                elif came == 1 and not self.left.wait(GRACE) and not self.deferring:
                    self._end(number, "interrupted")

    def _end(self, number: int, how: str) -> None:
        """Ends the process, whatever the main thread is in. Every file is whole at any time."""
        show_cursor = "\x1b[?25h" if sys.stderr.isatty() else ""
        _say(f"{show_cursor}{how}; {self.advice()}")
        os._exit(128 + number)


_handling: _Handling | None = None


@contextmanager
def handled(advice: Callable[[], str]) -> Iterator[None]:
    """Handles the signals while inside; outside the main thread it does nothing.

    Args:
        advice: says how to go on, should the process have to end.

    Raises:
        Interrupted: a signal came.
    """
    global _handling  # noqa: PLW0603  a process has one handler of a signal
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handling = _handling = _Handling(advice)
    receiving, sending = socket.socketpair()
    sending.setblocking(False)
    before = {number: signal.signal(number, handling.handle) for number in SIGNALS}
    woken_before = signal.set_wakeup_fd(sending.fileno(), warn_on_full_buffer=False)
    watching = threading.Thread(target=handling.watch, args=(receiving,), daemon=True)
    watching.start()
    try:
        yield
    except host_call.FAILURES:
        # What a handler raises inside a compiled program's call into Python arrives as JAX's error.
        if handling.received is not None:
            raise Interrupted(handling.received) from None
        raise
    finally:
        handling.left.set()
        signal.set_wakeup_fd(woken_before)
        for number, handler in before.items():
            signal.signal(number, handler)
        sending.close()
        watching.join()
        receiving.close()
        _handling = None


@contextmanager
def deferred() -> Iterator[None]:
    """While inside, a signal is only noted, for `requested` to be asked.

    Raises:
        Interrupted: at the end, when one has come.
    """
    if _handling is None:
        yield
        return
    before, _handling.deferring = _handling.deferring, True
    try:
        yield
    finally:
        _handling.deferring = before
    if _handling.received is not None and not before:
        raise Interrupted(_handling.received)


def requested() -> signal.Signals | None:
    """Returns the signal that has come, if one has."""
    return None if _handling is None else _handling.received


def request() -> None:
    """Notes a request to stop that another process of the run has received."""
    if _handling is not None:
        _handling.received = _handling.received or signal.SIGTERM


def _say(line: str) -> None:
    print(f"\n{line}", file=sys.stderr, flush=True)
