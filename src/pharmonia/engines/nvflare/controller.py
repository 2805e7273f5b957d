"""What NVFlare runs at the server for one job: our coordinator, with an engine whose frames NVFlare carries."""

import os
import threading
import time
from abc import abstractmethod
from contextlib import closing, suppress
from pathlib import Path
from queue import Empty, SimpleQueue

from nvflare.apis.client import Client
from nvflare.apis.fl_constant import ReservedTopic
from nvflare.apis.fl_context import FLContext
from nvflare.apis.impl.controller import Controller
from nvflare.apis.server_engine_spec import ServerEngineSpec
from nvflare.apis.shareable import ReservedHeaderKey, ReturnCode, Shareable
from nvflare.apis.signal import Signal
from nvflare.fuel.f3.cellnet.defs import CellChannel, MessageHeaderKey
from nvflare.fuel.f3.cellnet.defs import ReturnCode as CellCode
from nvflare.fuel.f3.cellnet.fqcn import FQCN
from nvflare.fuel.f3.message import Message

from pharmonia.base.errors import EngineError, OptionError, PharmoniaError, UnreachableError
from pharmonia.engines.nvflare.engine import Limits, NvflareEngine
from pharmonia.engines.nvflare.wire import BODY, FIELDS, Form, Reply, Request, Task

COORDINATOR_FOLDER = "PHARMONIA_COORDINATOR"  # environment variable of the server's own service
FAILED_FILE = "failed.txt"
LOST_FILE = "lost.txt"  # names of partners whose processes for the job are gone, a line each; the service writes it
REGROUP_FILE = "regroup.txt"  # there while a partner that was away is back; the service writes it
_LOOK_S = 0.5  # between two looks whether the job was ended
_IDLE_LOOK_S, _IDLE_LOOKS = 10.0, 3  # the last part of an answer may be under way for so long


class PushLink:
    """Pushes a request to a site's job and waits for its reply.

    A pushed task passes the site's filters and audit as a pulled one does, and waits for nobody's polling. It goes as
    one message of NVFlare's network and not as one of its streams (`wire`).
    """

    def __init__(self, engine: ServerEngineSpec, abort_signal: Signal, folder: Path) -> None:
        self._engine = engine
        self._folder = folder
        self._abort_signal = abort_signal
        cell = getattr(engine.get_cell(), "core_cell", None)
        if cell is None:
            raise EngineError("NVFlare's cell is not as in 2.9")
        self._cell = cell
        with engine.new_context() as context:
            self._job = str(context.get_job_id())
            self._about_us = context.get_all_public_props()

    def ask(self, partner: str, task: Task, request: Request, timeout_s: float) -> Reply:
        """The site's reply; raises as `Link.ask`.

        NVFlare's own wait for it takes no notice of the end of the job, nor of a connection that broke and was made
        anew, with which an answer under way is lost: whoever waits long asks whether the site is at work at all.
        """
        self._require_job()
        self._require_process(partner)
        answers = self._sent(partner, task, request, timeout_s)
        n_idle, look_at = 0, time.monotonic() + _IDLE_LOOK_S
        while True:
            try:
                answer = answers.get(timeout=_LOOK_S)
            except Empty:
                self._require_job()
                self._require_process(partner)
                if task is not Task.HELLO and time.monotonic() >= look_at:
                    n_idle = n_idle + 1 if self._is_idle(partner, request.run) else 0
                    look_at = time.monotonic() + _IDLE_LOOK_S
                if n_idle >= _IDLE_LOOKS:
                    raise UnreachableError(f"{partner}: is idle, but no answer came: one was lost on the way") from None
                continue
            if isinstance(answer, Exception):
                raise answer
            return _reply_in(answer, partner, task, timeout_s)

    def _is_idle(self, partner: str, run: str) -> bool:
        """Whether a site's job can be reached and works on nothing."""
        hello = Request(run=run, number=0, start=0, length=0, part=b"")
        try:
            return self.ask(partner, Task.HELLO, hello, _IDLE_LOOK_S).form is Form.FRAME
        except UnreachableError:
            return False

    def _sent(self, partner: str, task: Task, request: Request, timeout_s: float) -> "SimpleQueue[Message | Exception]":
        """Where the answer to a request will be put that has been sent."""
        client = self._engine.get_client_from_name(partner)
        if client is None:
            raise UnreachableError(f"{partner}: is not connected")
        target = FQCN.join([client.get_fqcn(), self._job])
        shareable = Shareable({FIELDS: request.fields(), BODY: bytes(request.part)})
        shareable.set_header(ReservedHeaderKey.TASK_NAME, task.value)
        shareable.set_header(ReservedHeaderKey.TASK_ID, f"{request.number}-{task.value}-{request.start}")
        shareable.set_header(ReservedHeaderKey.TOPIC, ReservedTopic.DO_TASK)
        shareable.set_peer_props(self._about_us)
        answers: SimpleQueue[Message | Exception] = SimpleQueue()

        def send() -> None:
            try:
                answer = self._cell.send_request(
                    channel=CellChannel.AUX_COMMUNICATION,
                    topic=ReservedTopic.DO_TASK,
                    target=target,
                    request=Message(payload=shareable),
                    timeout=timeout_s,
                    optional=True,
                )
            except Exception as error:  # noqa: BLE001 - raised in the thread that waits
                answers.put(error)
            else:
                answers.put(answer)

        threading.Thread(target=send, name="push", daemon=True).start()
        return answers

    def _require_job(self) -> None:
        """Says why the job was ended, if it was."""
        if not self._abort_signal.triggered:
            return
        lost = read_lost(self._folder)
        if not lost:
            raise EngineError("the job was ended")
        raise UnreachableError(f"{', '.join(lost)}: the process for this job is gone")

    def _require_process(self, partner: str) -> None:
        if partner in read_lost(self._folder):
            raise UnreachableError(f"{partner}: the process for this job is gone")


def read_lost(folder: Path) -> tuple[str, ...]:
    """Partners that the service of a coordinator's folder told the job to be lost."""
    try:
        return tuple((folder / LOST_FILE).read_text(encoding="utf-8").split("\n"))
    except OSError:
        return ()


def _reply_in(answer: Message, partner: str, task: Task, timeout_s: float) -> Reply:
    code = answer.get_header(MessageHeaderKey.RETURN_CODE, CellCode.OK)
    if code != CellCode.OK:
        raise UnreachableError(f"{partner}: no answer to {task.value} within {timeout_s:g} s ({code})")
    shareable = answer.payload
    if not isinstance(shareable, Shareable):
        raise EngineError(f"{partner}: NVFlare answered {task.value} with {type(shareable).__name__}")
    code = shareable.get_return_code(ReturnCode.OK)
    if code == ReturnCode.TOPIC_UNKNOWN:
        raise UnreachableError(f"{partner}: its job has only begun")
    if code != ReturnCode.OK:
        raise EngineError(f"{partner}: NVFlare answered {code} to {task.value}")
    return Reply.from_message(shareable.get(FIELDS), shareable.get(BODY))


class CoordinatorController(Controller):  # type: ignore[misc]
    """Runs our coordinator as a job's only workflow; a subclass in installed code says what it conducts."""

    def __init__(self, run: str, partners: list[str]) -> None:
        """Make the workflow of a job.

        Args:
            run: Id of the run.
            partners: Names of the sites, in the order of replies.
        """
        super().__init__()
        self._run = run
        self._partners = tuple(partners)

    @abstractmethod
    def conduct(self, engine: NvflareEngine, folder: Path) -> None:
        """Do the run; the folder is the coordinator's own."""

    def n_needed(self, folder: Path) -> int:  # noqa: ARG002 - for who reads it there
        """Partners without whom the run does not begin or go on; the folder is the coordinator's own."""
        return len(self._partners)

    def limits(self, folder: Path) -> Limits:  # noqa: ARG002 - for who keeps them there
        """What this coordinator allows; the folder is its own."""
        return Limits()

    def start_controller(self, fl_ctx: FLContext) -> None:
        """Nothing to prepare."""

    def stop_controller(self, fl_ctx: FLContext) -> None:
        """Nothing to clear."""

    def process_result_of_unknown_task(
        self, client: Client, task_name: str, client_task_id: str, result: Shareable, fl_ctx: FLContext
    ) -> None:
        """No task is ever pulled, so that a result of one is nobody's."""

    def control_flow(self, abort_signal: Signal, fl_ctx: FLContext) -> None:
        """Wait for all partners, then conduct; what fails ends the job and stands in the coordinator's folder."""
        named = os.environ.get(COORDINATOR_FOLDER)
        if not named:
            raise OptionError(f"the server's service was started without {COORDINATOR_FOLDER}")
        folder = Path(named)
        try:
            link = PushLink(fl_ctx.get_engine(), abort_signal, folder)
            with closing(NvflareEngine(link, self._run, self._partners, self.limits(folder))) as engine:
                engine.hello(self.n_needed(folder))
                self.conduct(engine, folder)
        except BaseException as error:
            with suppress(OSError):  # a full disk must not keep the job from its end
                folder.mkdir(parents=True, exist_ok=True)
                (folder / FAILED_FILE).write_text(f"{type(error).__name__}: {error}\n", encoding="utf-8")
            self.system_panic(f"{type(error).__name__}; see {FAILED_FILE} in the coordinator's folder", fl_ctx)
            if not isinstance(error, PharmoniaError):
                raise
