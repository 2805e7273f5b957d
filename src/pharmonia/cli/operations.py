"""What the commands of a local federation share: a trial's folders and kits, and its services as processes."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pharmonia.base.canonical import Json
from pharmonia.base.errors import InputError, OptionError, ServiceBusyError
from pharmonia.run.plainpaths import require_plain

if TYPE_CHECKING:
    import psutil

    from pharmonia.bench.settings import ComparisonSettings
    from pharmonia.engines.nvflare.service_status import MemberStatus
    from pharmonia.governance.plan import Tier

TRIAL_FILE, KIT = "trial.json", "kit"
FORMAT = "pharmonia/trial/v1"
HOST = "localhost"
_APPROVAL, _AUTHORITY = "kit-approval.json", "authority"
_MAIN = "from pharmonia.cli.main import main; main()"
_END_S = 20.0

Options = Mapping[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A trial's folder.

    Args:
        folder: Holds one folder for each of its members.
        coordinator: Name of the coordinator's.
        partners: Names of the partners', in order.
        options: With which it was made.
    """

    folder: Path
    coordinator: str
    partners: tuple[str, ...]
    options: Options

    @property
    def members(self) -> tuple[str, ...]:
        """All, the coordinator first."""
        return (self.coordinator, *self.partners)

    def place(self, member: str) -> Path:
        """A member's own folder."""
        return self.folder / member

    def kit(self, member: str) -> Path:
        """A member's start-up kit."""
        return self.folder / member / KIT


def read_trial(folder: Path) -> Trial:
    """The trial in a folder.

    Raises:
        InputError: There is none.
    """
    folder = _resolved(folder)  # processes are told apart by their folders
    path = folder / TRIAL_FILE
    try:
        tree = json.loads(path.read_bytes())
        if tree["format"] != FORMAT:
            raise InputError(f"{path} was written by another version; make a new trial in another folder")
        partners = tuple(str(one) for one in tree["partners"])
        return Trial(folder=folder, coordinator=str(tree["coordinator"]), partners=partners, options=tree["options"])
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"{folder} holds no trial; make one with `pharmonia up {folder}`") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is damaged; make a new trial in another folder") from error


def _resolved(folder: Path) -> Path:
    try:
        return folder.resolve()
    except (OSError, RuntimeError) as error:  # the second for links that go round
        raise InputError(f"there is no path to {folder}; is the folder that you are in still there?") from error


def require_same_options(trial: Trial, given: Options) -> None:
    """Refuses options that are not those that a trial was made with.

    Raises:
        OptionError: Names the first that differs.
    """
    for name, value in given.items():
        if trial.options.get(name) != value:
            raise OptionError(
                f"the trial in {trial.folder} has --{name.replace('_', '-')} {trial.options.get(name)}, not {value}; "
                f"leave the option out, or make a new trial in another folder"
            )


def make_trial(folder: Path, settings: "ComparisonSettings", tier: "Tier", options: Options, now: datetime) -> Trial:
    """A new trial: data, keys, papers and kits for all; the folder appears when it is whole.

    Raises:
        InputError: The folder is there already, is the one that we are in, has a path with which NVFlare cannot work,
            or cannot be written.
        ServiceBusyError: Another command is making it.
        PharmoniaError: The data cannot be had, or shared out so.
    """
    from pharmonia.bench.trial import COORDINATOR, found_trial, trial_partners  # noqa: PLC0415
    from pharmonia.engines.nvflare.federation_state import LOCK_FILE, serving  # noqa: PLC0415

    folder = _resolved(folder)
    _require_new(folder)
    partners = trial_partners(settings.n_partners)
    making = folder.with_name(f"{folder.name}.making")
    trial = Trial(folder=making, coordinator=COORDINATOR, partners=partners, options=options)
    tree: Json = {"format": FORMAT, "coordinator": COORDINATOR, "partners": list(partners), "options": options}
    try:
        making.mkdir(mode=0o700, parents=True, exist_ok=True)
        with serving(making):
            _clear(making, LOCK_FILE)
            try:
                found_trial(making, settings, tier, now)
                _make_kits(trial, _free_port(), now)
                (making / TRIAL_FILE).write_text(json.dumps(tree, indent=2) + "\n", encoding="utf-8")
                if folder.exists():
                    folder.rmdir()
                making.rename(folder)
            finally:
                shutil.rmtree(making, ignore_errors=True)
    except OSError as error:
        raise InputError(f"cannot write {making}: {error.strerror}") from error
    return read_trial(folder)


def _require_new(folder: Path) -> None:
    """Refuses a folder in whose place none can be made, or no run."""
    require_plain(folder)
    try:
        if folder.exists() and any(folder.iterdir()):
            raise InputError(f"{folder} is not empty and holds no trial; choose another folder")
    except OSError as error:
        raise InputError(f"{folder} cannot be a trial's folder: {error.strerror}; name a new one") from error
    if folder.exists() and folder.samefile(Path.cwd()):
        raise InputError(f"{folder} is the folder that you are in; name a new one, as in `pharmonia up trial`")


def _clear(folder: Path, kept: str) -> None:
    """Remove what an earlier attempt left that was killed."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != kept:
            path.unlink()


def _make_kits(trial: Trial, port: int, now: datetime) -> None:
    """Each asks with its own key, and the coordinator's authority answers: as between companies, on one machine."""
    from pharmonia.cli.deploy import engine_settings  # noqa: PLC0415
    from pharmonia.deploy.approvals import encode_approval  # noqa: PLC0415
    from pharmonia.deploy.authority import approve, create_authority  # noqa: PLC0415
    from pharmonia.deploy.folder import make_kit, read_request, request_kit  # noqa: PLC0415
    from pharmonia.deploy.posts import Address  # noqa: PLC0415
    from pharmonia.governance.terms import Role  # noqa: PLC0415
    from pharmonia.run.documents import read_agreement  # noqa: PLC0415
    from pharmonia.run.files import write_whole  # noqa: PLC0415
    from pharmonia.run.keyfiles import read_key  # noqa: PLC0415

    home = trial.place(trial.coordinator)
    history = read_agreement(home / "agreement.json")
    key = read_key(home / f"{trial.coordinator}.key", None)
    create_authority(home / _AUTHORITY, history, key, now)
    for member in trial.members:
        own = read_key(trial.place(member) / f"{member}.key", None)
        role = Role.COORDINATOR if member == trial.coordinator else Role.DATA_OWNER
        hosts = (HOST,) if role is Role.COORDINATOR else ()
        request_kit(trial.kit(member), history, member, role, hosts, own, now)
        signed = approve(home / _AUTHORITY, read_request(trial.kit(member) / "request.json"), history, key, now)
        answer = trial.place(member) / _APPROVAL
        write_whole(answer, encode_approval(signed))
        make_kit(trial.kit(member), history, answer, Address(host=HOST, port=port), engine_settings(), now)


def require_port(trial: Trial, now: datetime) -> None:
    """Where the server is to listen is free; if not, all kits name another port from now on. Nothing of it may run."""
    from pharmonia.cli.deploy import engine_settings  # noqa: PLC0415
    from pharmonia.deploy.folder import make_kit, read_manifest  # noqa: PLC0415
    from pharmonia.deploy.posts import Address  # noqa: PLC0415
    from pharmonia.engines.nvflare.supervisor import require_free  # noqa: PLC0415
    from pharmonia.run.documents import read_agreement  # noqa: PLC0415

    try:
        require_free(HOST, read_manifest(trial.kit(trial.coordinator)).server.port)
    except ServiceBusyError:
        other = Address(host=HOST, port=_free_port())
    else:
        return
    history = read_agreement(trial.place(trial.coordinator) / "agreement.json")
    for member in trial.members:
        make_kit(trial.kit(member), history, None, other, engine_settings(), now)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def standing(trial: Trial) -> "tuple[MemberStatus, ...]":
    """How each member stands, the coordinator first.

    Raises:
        PharmoniaError: A member's folder cannot be read.
    """
    from pharmonia.engines.nvflare.service_status import member_status  # noqa: PLC0415

    return tuple(member_status(trial.place(member), trial.kit(member)) for member in trial.members)


def launch(trial: Trial, member: str) -> "subprocess.Popen[bytes]":
    """A member's service, started apart from this terminal; what it says goes into its folder.

    Raises:
        InputError: It cannot be started.
    """
    from pharmonia.engines.nvflare.federation_state import LOG_FILE  # noqa: PLC0415

    place = trial.place(member)
    side = "coordinator" if member == trial.coordinator else "party"
    command = [sys.executable, "-c", _MAIN, side, "start", str(place), "--kit", str(trial.kit(member))]
    try:
        with (place / LOG_FILE).open("ab") as log, (place / "service.err").open("ab") as console:
            return subprocess.Popen(  # noqa: S603 - our own interpreter and command
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=console, start_new_session=True
            )
    except OSError as error:
        raise InputError(f"cannot start the service of {member}: {error.strerror}") from error


def end_all(trial: Trial) -> int:
    """Number of processes that were ended; afterwards none of the trial's is left.

    Raises:
        StoreError: What a service wrote about itself is damaged.
    """
    import psutil  # noqa: PLC0415

    from pharmonia.engines.nvflare.federation_state import end_processes, processes_in, read_state  # noqa: PLC0415

    services: list[psutil.Process] = []
    for member in trial.members:
        state = read_state(trial.place(member))
        process = None if state is None else state.process()
        services += [] if process is None else [process]
    services += [one for one in _launched(trial) if one not in services]
    places = [trial.kit(one) / ("server" if one == trial.coordinator else "site") for one in trial.members]
    workers = [process for place in places for process in processes_in(place)]
    for process in services:  # all at once, so that none waits for another
        try:
            process.send_signal(signal.SIGTERM)
        except psutil.NoSuchProcess:
            continue
    end_processes(services, _END_S)
    end_processes([process for place in places for process in processes_in(place)], 1.0)
    return len({one.pid for one in (*services, *workers)})


def _launched(trial: Trial) -> "list[psutil.Process]":
    """Services that were started for a member's folder, whether or not they have written so yet."""
    import psutil  # noqa: PLC0415

    places = {str(trial.place(member)) for member in trial.members}
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if process.pid != os.getpid() and _MAIN in words and places.intersection(words) and "start" in words:
            found.append(process)
    return found
