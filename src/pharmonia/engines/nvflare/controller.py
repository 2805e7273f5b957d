"""What NVFlare runs at the server for one job: our coordinator, with an engine whose frames NVFlare carries."""

import os
from abc import abstractmethod
from pathlib import Path

from nvflare.apis.client import Client
from nvflare.apis.fl_constant import ReservedTopic
from nvflare.apis.fl_context import FLContext
from nvflare.apis.impl.controller import Controller
from nvflare.apis.server_engine_spec import ServerEngineSpec
from nvflare.apis.shareable import ReservedHeaderKey, ReturnCode, Shareable
from nvflare.apis.signal import Signal

from pharmonia.base.errors import EngineError, OptionError, PharmoniaError, UnreachableError
from pharmonia.engines.nvflare.engine import Limits, NvflareEngine
from pharmonia.engines.nvflare.wire import Reply, Request, Task

COORDINATOR_FOLDER = "PHARMONIA_COORDINATOR"  # environment variable of the server's own service
FAILED_FILE = "failed.txt"
_NOT_THERE = (
    ReturnCode.TIMEOUT,
    ReturnCode.COMMUNICATION_ERROR,
    ReturnCode.TOPIC_UNKNOWN,
    ReturnCode.SERVICE_UNAVAILABLE,
)


class PushLink:
    """Pushes a request to a site's job and waits for its reply.

    Pushed tasks pass a site's filters and audit as pulled ones do, and wait for nobody's polling.
    """

    def __init__(self, engine: ServerEngineSpec, abort_signal: Signal) -> None:
        self._engine = engine
        self._abort_signal = abort_signal

    def ask(self, partner: str, task: Task, request: Request, timeout_s: float) -> Reply:
        """The site's reply; raises as `Link.ask`."""
        if self._abort_signal.triggered:
            raise EngineError("the job was ended")
        shareable = Shareable(dict(request.fields()))
        shareable.set_header(ReservedHeaderKey.TASK_NAME, task.value)
        shareable.set_header(ReservedHeaderKey.TASK_ID, f"{request.number}-{task.value}")
        with self._engine.new_context() as context:
            replies = self._engine.send_aux_request(
                targets=[partner],
                topic=ReservedTopic.DO_TASK,
                request=shareable,
                timeout=timeout_s,
                fl_ctx=context,
                optional=True,
            )
        answer = (replies or {}).get(partner)
        if answer is None:
            raise UnreachableError(f"{partner}: is not connected")
        code = answer.get_return_code(ReturnCode.OK)
        if code in _NOT_THERE:
            raise UnreachableError(f"{partner}: no answer to {task.value} within {timeout_s:g} s ({code})")
        if code != ReturnCode.OK:
            raise EngineError(f"{partner}: NVFlare answered {code} to {task.value}")
        return Reply.from_fields(answer)


class CoordinatorController(Controller):
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

    def limits(self) -> Limits:
        """What this coordinator allows."""
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
        engine = NvflareEngine(PushLink(fl_ctx.get_engine(), abort_signal), self._run, self._partners, self.limits())
        try:
            engine.hello()
            self.conduct(engine, folder)
        except PharmoniaError as error:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / FAILED_FILE).write_text(f"{type(error).__name__}: {error}\n", encoding="utf-8")
            self.system_panic(f"{type(error).__name__}; see {FAILED_FILE} in the coordinator's folder", fl_ctx)
        finally:
            engine.close()
