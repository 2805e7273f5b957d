"""A site's side of the wire, without NVFlare: who may ask, what, how much, and what is said when something fails."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pharmonia.base.errors import EngineError, MessageError, ReplayError
from pharmonia.engines.nvflare.faultlog import FaultLog
from pharmonia.engines.nvflare.wire import PART_BYTES, Assembly, Form, Reply, Request, Task, encode_fault
from pharmonia.run.engine import FrameHandler


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A request as it arrived.

    Args:
        task: NVFlare's name of it.
        peer: Where it came from.
        request: Itself.
    """

    task: str
    peer: str
    request: Request


class _Held:
    """An answer that waits to be fetched, part by part, each once."""

    def __init__(self, number: int, answer: bytes) -> None:
        self.number = number
        self._answer = memoryview(answer)
        self._missing = set(range(0, len(answer), PART_BYTES))

    @property
    def is_given(self) -> bool:
        """Whether all of it was taken."""
        return not self._missing

    def take(self, start: int) -> memoryview | None:
        """The part that begins there; None if there is none, or it was taken before."""
        if start not in self._missing:
            return None
        self._missing.remove(start)
        return self._answer[start : start + PART_BYTES]


class Desk:
    """Answers the coordinator of one run with one party, for as long as the run lasts.

    Guarantees:
        only_the_coordinator_is_answered: Any other peer, run or task gets a fault, and the party sees nothing of it.
        one_at_a_time: A frame that comes while another is handled gets a fault.
        no_frame_twice: The numbers of frames only rise.
        faults_are_redacted: What failed is told as `encode_fault` does; it stands in full in the site's own log.
    """

    def __init__(
        self,
        run: str,
        coordinator: str,
        open_party: Callable[[], FrameHandler],
        folder: Path,
        max_frame_bytes: int,
    ) -> None:
        """Make a desk; the party is opened at the first hello.

        Args:
            run: Id of the run that the job is for.
            coordinator: Where its job's requests come from.
            open_party: Makes the party; what it raises is the hello's answer.
            folder: The site's own; faults are written there in full.
            max_frame_bytes: Longest frame that is taken or given.
        """
        self._run = run
        self._coordinator = coordinator
        self._open_party = open_party
        self._faults = FaultLog(folder)
        self._max_frame_bytes = max_frame_bytes
        self._party: FrameHandler | None = None
        self._not_opened: BaseException | None = None
        self._last = -1
        self._parts: Assembly | None = None  # of the frame that is arriving
        self._held: _Held | None = None
        self._moving = threading.Lock()  # held while a part is put into its frame, or taken from an answer
        self._at_work = threading.Lock()  # held while the party is opened or handles a frame

    def answer(self, question: Question) -> Reply:
        """The reply to a question; never an exception. Parts of one frame may be brought by several threads at once."""
        try:
            return self._answer(question)
        except BaseException as error:  # noqa: BLE001 - whatever a party raises must not reach NVFlare's logs
            self._write_down(question, error)
            return Reply(form=Form.FAULT, body=encode_fault(error))

    def _answer(self, question: Question) -> Reply:
        request = question.request
        if question.peer != self._coordinator:
            raise MessageError("only the coordinator's job is answered here")
        if request.run != self._run:
            raise MessageError("the request belongs to another run")
        if request.length > self._max_frame_bytes:
            raise MessageError(f"a frame has at most {self._max_frame_bytes} bytes here, got {request.length}")
        match question.task:
            case Task.HELLO:
                return self._open()
            case Task.FRAME:
                return self._take(request)
            case Task.FETCH:
                return self._fetch(request)
            case _:
                raise MessageError("there is no such task")

    def _open(self) -> Reply:
        with self._moving:
            if self._at_work.locked():
                return Reply(form=Form.MORE, body=b"")
            if self._not_opened is not None:
                raise self._not_opened
            if self._party is not None:
                return Reply(form=Form.FRAME, body=b"")
            self._at_work.acquire()
        try:
            self._party = self._open_party()
        except BaseException as error:
            self._not_opened = error  # for a coordinator that asks again because this answer came too late
            raise
        finally:
            self._at_work.release()
        return Reply(form=Form.FRAME, body=b"")

    def _take(self, request: Request) -> Reply:
        """Keep a part; with the last that was missing, let the party handle the frame."""
        if self._party is None:
            raise MessageError("a run begins with a hello")
        with self._idle():
            frame = self._frame_with(request)
            if frame is None:
                return Reply(form=Form.MORE, body=b"")
            self._at_work.acquire()
        try:
            return self._handle(self._party, request.number, frame)
        finally:
            self._at_work.release()

    @contextmanager
    def _idle(self) -> Iterator[None]:
        """The only one who moves a part, while no frame is handled."""
        with self._moving:
            if self._at_work.locked():
                raise EngineError("still at work on an earlier frame")
            yield

    def _frame_with(self, request: Request) -> bytes | None:
        """The frame, if this part was the last that was missing."""
        if request.number < self._last or (request.number == self._last and self._parts is None):
            raise ReplayError(f"request {request.number} comes after {self._last}; nothing was done")
        if request.number > self._last:
            self._last, self._held, self._parts = request.number, None, Assembly(request.length)
        if self._parts is None or self._parts.length != request.length:
            raise MessageError(f"a part of {request.length} bytes belongs to another request than {self._last}")
        self._parts.add(request.start, request.part)
        if not self._parts.is_whole:
            return None
        frame, self._parts = self._parts.frame(), None
        return frame

    def _handle(self, party: FrameHandler, number: int, frame: bytes) -> Reply:
        answer = party.handle(frame)
        if len(answer) > self._max_frame_bytes:
            raise MessageError(f"a frame has at most {self._max_frame_bytes} bytes here, the answer has {len(answer)}")
        if len(answer) <= PART_BYTES:
            return Reply(form=Form.FRAME, body=answer)
        self._held = _Held(number, answer)
        return Reply(form=Form.HELD, body=str(len(answer)).encode())

    def _fetch(self, request: Request) -> Reply:
        with self._idle():
            held = self._held
            part = held.take(request.start) if held is not None and held.number == request.number else None
            if held is None or part is None:
                raise MessageError(f"no answer to request {request.number} is held from {request.start} on")
            if held.is_given:
                self._held = None
            return Reply(form=Form.FRAME, body=part)

    def _write_down(self, question: Question, error: BaseException) -> None:
        about = f"task {question.task!r} from {question.peer!r}, request {question.request.number}"
        self._faults.write(about, error)
