"""A limit of time for what a stranger's text may make long, such as a regular expression."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Ends what runs inside after some seconds, in a main thread under Unix; elsewhere never.

    Python itself and its regular expressions are ended, a call of a library only once it returns.

    Args:
        seconds: above 0.

    Raises:
        TimeoutError: it was not done.

    Cost: some microseconds.
    """
    if not hasattr(signal, "setitimer") or (
        threading.current_thread() is not threading.main_thread()
    ):
        yield
        return

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"not done in {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
