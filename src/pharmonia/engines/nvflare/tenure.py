"""What a job holds open at a site, and when it lets go of it: not before the frame under way is done."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from pharmonia.base.errors import EngineError
from pharmonia.run.engine import FrameHandler


class Tenure:
    """A job's hold on a party's folder.

    NVFlare ends a job in one thread while another may still handle a frame that nobody waits for any more. Were the
    ledger's lock given back then, the next job's process would write the same files beside it.

    Guarantees:
        nothing_is_closed_under_a_frame: Whoever is at work when the job ends closes everything when it is done.
        nothing_is_begun_after_the_end: No party is opened and no frame handled.
    """

    def __init__(self) -> None:
        self._opened = ExitStack()
        self._counting = threading.Lock()
        self._n_at_work = 0
        self._has_ended = False

    @contextmanager
    def at_work(self) -> Iterator[ExitStack]:
        """What is held open, to which more may be added; it stays open until this is left.

        Raises:
            EngineError: The job has ended.
        """
        with self._counting:
            if self._has_ended:
                raise EngineError("the job has ended here")
            self._n_at_work += 1
        try:
            yield self._opened
        finally:
            with self._counting:
                self._n_at_work -= 1
                is_last = self._has_ended and not self._n_at_work
            if is_last:
                self._opened.close()

    def end(self) -> None:
        """Close everything, now or as soon as nobody is at work; the second time, nothing."""
        with self._counting:
            is_last = not self._has_ended and not self._n_at_work
            self._has_ended = True
        if is_last:
            self._opened.close()


class Tenant:
    """A party that handles frames as long as its job lasts."""

    def __init__(self, party: FrameHandler, tenure: Tenure) -> None:
        self._party = party
        self._tenure = tenure

    def handle(self, frame: bytes) -> bytes:
        """The party's answer.

        Raises:
            EngineError: The job has ended.
            PharmoniaError: As the party's own `handle`.
        """
        with self._tenure.at_work():
            return self._party.handle(frame)
