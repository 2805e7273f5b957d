"""The operator's session with NVFlare's server: who is connected, submit a job, how it stands."""

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import TypeVar

from nvflare.fuel.flare_api import api_spec
from nvflare.fuel.flare_api.flare_api import Session, new_secure_session
from nvflare.fuel.hci.proto import MetaStatusValue

from pharmonia.base.errors import UnreachableError
from pharmonia.engines.nvflare.attendance import RollCall
from pharmonia.engines.nvflare.job import Job, write_job
from pharmonia.engines.nvflare.supervisor import direct

ResultT = TypeVar("ResultT")
_FAILED = (
    api_spec.NoConnection,
    api_spec.SessionClosed,
    api_spec.InternalError,
    api_spec.AuthenticationError,
    api_spec.AuthorizationError,
    api_spec.NoReply,
    api_spec.CommandError,
    RuntimeError,
    OSError,
)
_LOGIN_S = 5.0


class Operator:
    """A session; made by `operating`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def connected(self) -> frozenset[str]:
        """Names of the sites that are connected.

        Raises:
            UnreachableError: The server does not answer.
        """
        return frozenset(str(client.name) for client in _asked(self._session.get_connected_client_list))

    def submit(self, job: Job, folder: Path) -> str:
        """NVFlare's id of a job that now waits to be started; its files are left in FOLDER.

        Raises:
            UnreachableError: The server does not answer, or does not take the job.
        """
        path = str(write_job(job, folder).absolute())  # NVFlare looks for another one in its own folder
        return str(_asked(lambda: self._session.submit_job(path)))

    def status(self, job_id: str) -> str:
        """How a job stands, as NVFlare calls it; nothing while it does not know it.

        Raises:
            UnreachableError: The server does not answer.
        """
        try:
            return str(_asked(lambda: self._session.get_job_meta(job_id)).get("status", ""))
        except api_spec.JobNotFound:
            return ""

    def roll_call(self, job_id: str) -> RollCall:
        """What the sites say, of a job and at all.

        Raises:
            UnreachableError: The server does not answer.
        """
        told = _asked(self._session.get_client_job_status) or []
        silent = {MetaStatusValue.NO_REPLY, MetaStatusValue.ERROR}
        return RollCall(
            at_work=frozenset(str(one.get("client_name")) for one in told if one.get("job_id") == job_id),
            answering=frozenset(str(one.get("client_name")) for one in told if one.get("status") not in silent),
        )

    def abort(self, job_id: str) -> None:
        """End a job; one that has ended stays so."""
        with suppress(UnreachableError, api_spec.JobNotRunning, api_spec.JobNotFound):
            _asked(lambda: self._session.abort_job(job_id))


def _asked(call: Callable[[], ResultT]) -> ResultT:
    try:
        return call()
    except _FAILED as error:
        raise UnreachableError(f"the server does not answer its operator: {type(error).__name__}") from error


@contextmanager
def operating(workspace: Path, name: str, host: str) -> Iterator[Operator]:
    """A session of the operator whose kit lies there; NVFlare's chatter is not printed.

    Args:
        workspace: The kit's `operator`.
        name: As its certificate has it.
        host: Of the server, to which this process asks no proxy from now on.

    Raises:
        UnreachableError: The server does not answer.
    """
    os.environ.update(direct(os.environ, host))
    with redirect_stdout(io.StringIO()):
        session = _asked(lambda: new_secure_session(name, str(workspace), timeout=_LOGIN_S, auto_login_max_tries=1))
    try:
        yield Operator(session)
    finally:
        with suppress(*_FAILED), redirect_stdout(io.StringIO()):
            session.close()
