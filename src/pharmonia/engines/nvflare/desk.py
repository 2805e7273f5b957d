"""A site's side of the wire, without NVFlare: who may ask, what, how much, and what is said when something fails."""

import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pharmonia.base.errors import EngineError, MessageError, ReplayError
from pharmonia.engines.nvflare.wire import Form, Reply, Request, Task, encode_fault
from pharmonia.run.engine import FrameHandler

HOLD_FROM_BYTES = 8 << 20
FAULT_LOG = "faults.log"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A request as it arrived.

    Args:
        task: NVFlare's name of it.
        peer: Who says to have sent it.
        request: Itself.
    """

    task: str
    peer: str
    request: Request


class Desk:
    """Answers the coordinator of one run with one party, for as long as the run lasts.

    Guarantees:
        only_the_coordinator_is_answered: Any other peer, run or task gets a fault, and the party sees nothing of it.
        one_at_a_time: A frame that comes while another is handled gets a fault.
        no_frame_twice: The numbers of frames only rise.
        faults_are_redacted: What failed is told as `encode_fault` does; all of it stands in the site's own log.
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
            coordinator: How the coordinator's job names itself.
            open_party: Makes the party; what it raises is the hello's answer.
            folder: The site's own; faults are written there in full.
            max_frame_bytes: Longest frame that is taken or given.
        """
        self._run = run
        self._coordinator = coordinator
        self._open_party = open_party
        self._folder = folder
        self._max_frame_bytes = max_frame_bytes
        self._party: FrameHandler | None = None
        self._last = -1
        self._held: tuple[int, bytes] | None = None
        self._busy = threading.Lock()

    def answer(self, question: Question) -> Reply:
        """The reply to a question; never an exception."""
        if not self._busy.acquire(blocking=False):
            return Reply(form=Form.FAULT, body=encode_fault(EngineError("still at work on an earlier frame")))
        try:
            return self._answer(question)
        except BaseException as error:  # noqa: BLE001 - whatever a party raises must not reach NVFlare's logs
            self._write_down(question, error)
            return Reply(form=Form.FAULT, body=encode_fault(error))
        finally:
            self._busy.release()

    def _answer(self, question: Question) -> Reply:
        request = question.request
        if question.peer != self._coordinator:
            raise MessageError("only the coordinator's job is answered here")
        if request.run != self._run:
            raise MessageError("the request belongs to another run")
        if len(request.frame) > self._max_frame_bytes:
            raise MessageError(f"a frame has at most {self._max_frame_bytes} bytes here, got {len(request.frame)}")
        match question.task:
            case Task.HELLO:
                if self._party is None:
                    self._party = self._open_party()
                return Reply(form=Form.FRAME, body=b"")
            case Task.FRAME:
                return self._handle(request)
            case Task.FETCH:
                return self._fetch(request)
            case _:
                raise MessageError("there is no such task")

    def _handle(self, request: Request) -> Reply:
        if self._party is None:
            raise MessageError("a run begins with a hello")
        if request.number <= self._last:
            raise ReplayError(f"request {request.number} comes after {self._last}; nothing was done")
        self._last, self._held = request.number, None
        frame = self._party.handle(request.frame)
        if len(frame) > self._max_frame_bytes:
            raise MessageError(f"a frame has at most {self._max_frame_bytes} bytes here, the answer has {len(frame)}")
        if len(frame) < HOLD_FROM_BYTES:
            return Reply(form=Form.FRAME, body=frame)
        self._held = (request.number, frame)
        return Reply(form=Form.HELD, body=str(len(frame)).encode())

    def _fetch(self, request: Request) -> Reply:
        if self._held is None or self._held[0] != request.number:
            raise MessageError(f"no answer to request {request.number} is held")
        frame, self._held = self._held[1], None
        return Reply(form=Form.FRAME, body=frame)

    def _write_down(self, question: Question, error: BaseException) -> None:
        text = "".join(traceback.format_exception(error))
        about = f"task {question.task!r} from {question.peer!r}, request {question.request.number}"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with (self._folder / FAULT_LOG).open("a", encoding="utf-8") as log:
                log.write(f"{about}\n{text}\n")
        except OSError:
            return  # a full disk must not keep the fault from the coordinator
