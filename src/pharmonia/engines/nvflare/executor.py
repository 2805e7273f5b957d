"""What NVFlare runs at a site for one job: it passes frames between the coordinator's job and our party.

NVFlare's own check of a pushed task asks only that the job's id fits. Who sent it is checked here twice: the origin
that NVFlare's server authenticated when the message passed through it, and the peer that the message names.
"""

import os
import threading
from abc import abstractmethod
from pathlib import Path

from nvflare.apis.event_type import EventType
from nvflare.apis.executor import Executor
from nvflare.apis.fl_constant import ReservedTopic
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.apis.signal import Signal
from nvflare.fuel.f3.cellnet.defs import MessageHeaderKey, ReturnCode
from nvflare.fuel.f3.cellnet.fqcn import FQCN
from nvflare.fuel.f3.cellnet.utils import make_reply
from nvflare.fuel.f3.message import Message

from pharmonia.base.errors import EngineError, MessageError, OptionError, UnreachableError
from pharmonia.engines.nvflare.desk import Desk, Question
from pharmonia.engines.nvflare.wire import BODY, FIELDS, Form, Reply, Request, encode_fault
from pharmonia.run.engine import FrameHandler

SITE_FOLDER = "PHARMONIA_SITE"  # environment variables of the site's own service
MAX_FRAME_BYTES = "PHARMONIA_MAX_FRAME_BYTES"
DEFAULT_MAX_FRAME_BYTES = 1 << 30


def turned_away(message: Message, own_name: str, coordinator: str) -> Message | None:
    """A refusal of a message that comes to a site's job from another site; None lets it pass.

    NVFlare's server lets a message pass only if its origin is the site whose signed token it carries, so that the
    origin that arrives here is no claim of the sender alone.

    Args:
        message: As it arrived.
        own_name: The site's.
        coordinator: Where tasks come from, and from nowhere else: the job's own process at the server.
    """
    origin = str(message.get_header(MessageHeaderKey.ORIGIN, ""))
    is_task = message.get_header(MessageHeaderKey.TOPIC) == ReservedTopic.DO_TASK
    if origin == coordinator if is_task else origin.split(".", maxsplit=1)[0] in (FQCN.ROOT_SERVER, own_name):
        return None
    return make_reply(ReturnCode.UNAUTHENTICATED, error="a site's job takes messages of the server only")


class PartyExecutor(Executor):  # type: ignore[misc]
    """Holds a site's party for the life of the job; a subclass in installed code says how it is opened."""

    def __init__(self, run: str) -> None:
        """Run: id of the run that the job is for."""
        super().__init__()
        self._run = run
        self._is_guarded = False
        self._desk: Desk | None = None
        self._opening = threading.Lock()  # NVFlare brings tasks in several threads; the party is opened by one desk

    @abstractmethod
    def open_party(self, folder: Path) -> FrameHandler:
        """The party of the site whose folder this is."""

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Turn strangers away before the first task can come."""
        if event_type in (EventType.ABOUT_TO_START_RUN, EventType.START_RUN):
            self._guard(fl_ctx)

    def _guard(self, fl_ctx: FLContext) -> bool:
        """Whether strangers were turned away already; if not, they are now."""
        if self._is_guarded:
            return True
        core = getattr(fl_ctx.get_engine().get_cell(), "core_cell", None)
        if core is None:
            raise EngineError("NVFlare's cell is not as in 2.9")
        coordinator = str(FQCN.join([FQCN.ROOT_SERVER, str(fl_ctx.get_job_id())]))
        own_name = str(fl_ctx.get_identity_name())
        core.add_incoming_filter(channel="*", topic="*", cb=turned_away, own_name=own_name, coordinator=coordinator)
        self._is_guarded = True
        return False

    def execute(self, task_name: str, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Shareable:  # noqa: ARG002 - NVFlare passes it
        """The reply to a request, as NVFlare carries it; never an exception."""
        try:
            if not self._guard(fl_ctx):
                raise UnreachableError("the job has only begun here; ask again")
            peer = fl_ctx.get_peer_context()
            name = "" if peer is None else str(peer.get_identity_name())
            request = Request.from_message(shareable.get(FIELDS), shareable.get(BODY))
            reply = self._open_desk(fl_ctx).answer(Question(task=task_name, peer=name, request=request))
        except (EngineError, MessageError, OptionError) as error:
            reply = Reply(form=Form.FAULT, body=encode_fault(error))
        return Shareable({FIELDS: reply.fields(), BODY: bytes(reply.body)})

    def _open_desk(self, fl_ctx: FLContext) -> Desk:
        with self._opening:
            if self._desk is None:
                self._desk = self._made_desk(fl_ctx)
            return self._desk

    def _made_desk(self, fl_ctx: FLContext) -> Desk:
        named = os.environ.get(SITE_FOLDER)
        if not named:
            raise OptionError(f"the site's service was started without {SITE_FOLDER}")
        folder = Path(named)
        limit = int(os.environ.get(MAX_FRAME_BYTES, DEFAULT_MAX_FRAME_BYTES))
        servers = tuple(getattr(getattr(fl_ctx.get_engine(), "client", None), "servers", ()))
        if len(servers) != 1:
            raise EngineError("NVFlare's client is not as in 2.9")
        return Desk(self._run, servers[0], lambda: self.open_party(folder), folder, limit)
