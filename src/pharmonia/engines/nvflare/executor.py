"""What NVFlare runs at a site for one job: it passes frames between the coordinator's job and our party.

Who sent a message is checked here twice: whatever another site sends to this job is turned away, and our party is asked
by nobody but the job's own process at the server.
"""

import os
from abc import abstractmethod
from pathlib import Path

from nvflare.apis.event_type import EventType
from nvflare.apis.executor import Executor
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import ReturnCode, Shareable, make_reply
from nvflare.apis.signal import Signal
from nvflare.fuel.f3.cellnet.defs import MessageHeaderKey
from nvflare.fuel.f3.cellnet.defs import ReturnCode as CellCode
from nvflare.fuel.f3.cellnet.fqcn import FQCN
from nvflare.fuel.f3.cellnet.utils import make_reply as make_cell_reply
from nvflare.fuel.f3.message import Message

from pharmonia.base.errors import EngineError, MessageError, OptionError
from pharmonia.engines.nvflare.desk import Desk, Question
from pharmonia.engines.nvflare.wire import CHANNEL, FIELDS, Form, Reply, Request, encode_fault
from pharmonia.run.engine import FrameHandler

SITE_FOLDER = "PHARMONIA_SITE"  # environment variables of the site's own service
MAX_FRAME_BYTES = "PHARMONIA_MAX_FRAME_BYTES"
DEFAULT_MAX_FRAME_BYTES = 1 << 30


def turned_away(message: Message, own_name: str) -> Message | None:
    """A refusal of a message that comes to a site's job from another site; None lets it pass.

    NVFlare's server lets a message pass only if its origin is the site whose signed token it carries, so that the
    origin that arrives here is no claim of the sender alone.
    """
    origin = str(message.get_header(MessageHeaderKey.ORIGIN, ""))
    if origin.split(".", maxsplit=1)[0] in (FQCN.ROOT_SERVER, own_name):
        return None
    return make_cell_reply(CellCode.UNAUTHENTICATED, error="a site's job takes messages of the server only")


class PartyExecutor(Executor):  # type: ignore[misc]
    """Holds a site's party for the life of the job; a subclass in installed code says how it is opened."""

    def __init__(self, run: str) -> None:
        """Run: id of the run that the job is for."""
        super().__init__()
        self._run = run
        self._coordinator: str | None = None  # where its requests come from; None until we listen
        self._desk: Desk | None = None

    @abstractmethod
    def open_party(self, folder: Path) -> FrameHandler:
        """The party of the site whose folder this is."""

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Turn strangers away, and only then listen."""
        if event_type not in (EventType.ABOUT_TO_START_RUN, EventType.START_RUN) or self._coordinator is not None:
            return
        core = getattr(fl_ctx.get_engine().get_cell(), "core_cell", None)
        if core is None:
            raise EngineError("NVFlare's cell is not as in 2.9")
        self._coordinator = FQCN.join([FQCN.ROOT_SERVER, str(fl_ctx.get_job_id())])
        core.add_incoming_filter(channel="*", topic="*", cb=turned_away, own_name=str(fl_ctx.get_identity_name()))
        core.register_request_cb(channel=CHANNEL, topic="*", cb=self.reply)

    def reply(self, message: Message) -> Message:
        """The reply to a request, as NVFlare carries it; never an exception."""
        try:
            question = Question(
                task=str(message.get_header(MessageHeaderKey.TOPIC, "")),
                peer=str(message.get_header(MessageHeaderKey.ORIGIN, "")),
                request=Request.from_message(message.get_header(FIELDS), message.payload),
            )
            reply = self._open_desk().answer(question)
        except (MessageError, OptionError) as error:
            reply = Reply(form=Form.FAULT, body=encode_fault(error))
        return Message({FIELDS: reply.fields()}, reply.body)

    def execute(self, task_name: str, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Shareable:  # noqa: ARG002 - NVFlare passes it
        """Nothing: no task of NVFlare's is ever sent."""
        return make_reply(ReturnCode.TASK_UNKNOWN)

    def _open_desk(self) -> Desk:
        if self._desk is None:
            named = os.environ.get(SITE_FOLDER)
            if not named or self._coordinator is None:
                raise OptionError(f"the site's service was started without {SITE_FOLDER}")
            folder = Path(named)
            limit = int(os.environ.get(MAX_FRAME_BYTES, DEFAULT_MAX_FRAME_BYTES))
            self._desk = Desk(self._run, self._coordinator, lambda: self.open_party(folder), folder, limit)
        return self._desk
