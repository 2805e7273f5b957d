"""What a partner, or the coordinator, tells its own machine: one TOML file in a folder that only it can read.

A partner's `site.toml`; every path is relative to the folder that it lies in, or absolute on the same machine:

    partner = "acme"
    key = "acme.key"
    commitment = "acme.key.commitment"
    agreement = "agreement.json"
    plan = "plan.json"
    policy = "policy.json"
    ledger = "ledger"
    state = "state"

    [data]
    kind = "interactions"
    folder = "data"

Data of kind "tasks" are a folder of prepared tasks, and name their folds besides: train_folds = [2, 3, 4] and
valid_folds = [1]. The coordinator's `coordinator.toml`:

    partner = "dynamo"
    key = "dynamo.key"
    agreement = "agreement.json"
    plan = "plan.json"
    ledger = "ledger"
    store_url = "sqlite:///store/runs.sqlite"
    store_folder = "store"
    checkpoint_every_s = 20

Three more may be left out: answer_timeout_s = 600, how long a partner may take for a step; room_mb = 64, for answers
that are held whole at once, as those of plans that go on without a lost partner are; and lost_wait_s = 60, how long a
run waits for a partner that is away before it is submitted without it, if the plan says that it goes on. In both files
passphrase = "acme.passphrase" names a file of mode 0600 with the passphrase of the key, where that is encrypted.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from pharmonia.base.errors import OptionError, TermsError
from pharmonia.governance.documents import Fields, require_id
from pharmonia.run.documents import read_document

SITE_FILE, COORDINATOR_FILE = "site.toml", "coordinator.toml"
MAX_FOLDS = 127  # as prepared tasks number them
_PLAN_DIGITS = 16  # of a plan's digest, in the name of its folder of state
_SQLITE = "sqlite:///"


class DataKind(StrEnum):
    """What a partner's data are."""

    INTERACTIONS = "interactions"  # what `site_data.write_interactions` wrote
    TASKS = "tasks"  # what `pharmonia prepare` wrote


@dataclass(frozen=True, slots=True, kw_only=True)
class DataPlace:
    """Where a partner's own data are.

    Args:
        kind: What they are.
        folder: Of the data.
        train_folds: Of prepared tasks, what to learn from; ascending. Empty for interactions, whose rows are split.
        valid_folds: What to stop and choose by.

    Raises:
        OptionError: Folds that no folder has, or that interactions do not take.
    """

    kind: DataKind
    folder: Path
    train_folds: tuple[int, ...] = ()
    valid_folds: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        both = (*self.train_folds, *self.valid_folds)
        if self.kind is DataKind.INTERACTIONS:
            if both:
                raise OptionError("data of kind interactions take no folds: their rows are split already")
            return
        for name, folds in (("train_folds", self.train_folds), ("valid_folds", self.valid_folds)):
            if not folds or list(folds) != sorted(set(folds)) or folds[0] < 0 or folds[-1] > MAX_FOLDS:
                raise OptionError(f"{name} must be whole numbers from 0 to {MAX_FOLDS}, ascending, got {list(folds)}")
        if len(set(both)) != len(both):
            raise OptionError(f"a fold is to learn from or to choose by, not both: {list(both)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteConfig:
    """A partner's own files.

    Args:
        partner: Its id.
        key: What it signs with, mode 0600.
        commitment: The secret under which plans name its data, mode 0600.
        agreement: Its own copy, a file or a consortium's folder.
        plan: Its own copy, with approvals.
        policy: Its own.
        ledger: Folder of its copy of the ledger.
        state: Folder of what it remembers between rounds.
        data: What it trains on.
        passphrase: File with that of the key, mode 0600; None if the key is not encrypted.
    """

    partner: str
    key: Path
    commitment: Path
    agreement: Path
    plan: Path
    policy: Path
    ledger: Path
    state: Path
    data: DataPlace
    passphrase: Path | None = None

    def state_of(self, plan: str) -> Path:
        """Where this partner keeps what it remembers of the plan with that digest."""
        return self.state / plan[:_PLAN_DIGITS]


@dataclass(frozen=True, slots=True, kw_only=True)
class CoordinatorConfig:
    """The coordinator's own files.

    Args:
        partner: Its id.
        key: What it signs with, mode 0600.
        agreement: Its own copy, a file or a consortium's folder.
        plan: Its own copy, with approvals.
        ledger: Folder of its copy of the ledger; another one than its own site's, if it has data too.
        store_url: Database of the store of runs; may hold a password.
        store_folder: Where the store keeps arrays.
        checkpoint_every_s: A killed run repeats at most this much.
        answer_timeout_s: A partner that takes longer for a step is lost.
        room_mb: Memory for long answers that are held whole at once, MiB; other ones are added as they arrive.
        lost_wait_s: For a partner that is away, where the plan goes on without it.
        passphrase: File with that of the key, mode 0600; None if the key is not encrypted.

    Raises:
        OptionError: Seconds or memory below what can be.
    """

    partner: str
    key: Path
    agreement: Path
    plan: Path
    ledger: Path
    store_url: str = field(repr=False)
    store_folder: Path
    checkpoint_every_s: int
    answer_timeout_s: int = 600
    room_mb: int = 64
    lost_wait_s: int = 60
    passphrase: Path | None = None

    def __post_init__(self) -> None:
        for name, value in (("answer_timeout_s", self.answer_timeout_s), ("room_mb", self.room_mb)):
            if value < 1:
                raise OptionError(f"{name} must be at least 1, got {value}")
        for name, value in (("checkpoint_every_s", self.checkpoint_every_s), ("lost_wait_s", self.lost_wait_s)):
            if value < 0:
                raise OptionError(f"{name} must be at least 0, got {value}")


_OPTIONAL = ("answer_timeout_s", "room_mb", "lost_wait_s")


def read_site(folder: Path) -> SiteConfig:
    """What a partner's `site.toml` says.

    Raises:
        InputError: It cannot be read.
        OptionError: A field is missing, strange or of another type, or a path leads to another machine; names the file,
            the field and the remedy.
    """
    path = folder / SITE_FILE
    fields = _fields(path)
    try:
        config = SiteConfig(
            partner=_partner(fields),
            key=_path(fields, "key", folder),
            commitment=_path(fields, "commitment", folder),
            agreement=_path(fields, "agreement", folder),
            plan=_path(fields, "plan", folder),
            policy=_path(fields, "policy", folder),
            ledger=_path(fields, "ledger", folder),
            state=_path(fields, "state", folder),
            data=_data(fields.inner("data"), folder),
            passphrase=_path(fields, "passphrase", folder) if fields.has("passphrase") else None,
        )
        fields.done()
    except (OptionError, TermsError) as error:
        raise _explained(error, path) from error
    return config


def read_coordinator(folder: Path) -> CoordinatorConfig:
    """What the coordinator's `coordinator.toml` says.

    Raises:
        InputError: It cannot be read.
        OptionError: As `read_site`.
    """
    path = folder / COORDINATOR_FILE
    fields = _fields(path)
    try:
        config = CoordinatorConfig(
            partner=_partner(fields),
            key=_path(fields, "key", folder),
            agreement=_path(fields, "agreement", folder),
            plan=_path(fields, "plan", folder),
            ledger=_path(fields, "ledger", folder),
            store_url=_store_url(fields.text("store_url"), folder),
            store_folder=_path(fields, "store_folder", folder),
            checkpoint_every_s=fields.integer("checkpoint_every_s"),
            passphrase=_path(fields, "passphrase", folder) if fields.has("passphrase") else None,
            **{name: fields.integer(name) for name in _OPTIONAL if fields.has(name)},
        )
        fields.done()
    except (OptionError, TermsError) as error:
        raise _explained(error, path) from error
    return config


def _fields(path: Path) -> Fields:
    try:
        tree = tomllib.loads(read_document(path).decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise OptionError(f"{path} is not TOML: {error}; correct that line") from error
    return Fields(tree, path.name, OptionError)


def _explained(error: Exception, path: Path) -> OptionError:
    where = path.parent
    return OptionError(f"{error}; correct {path}, whose paths are relative to {where}, and start again")


def _partner(fields: Fields) -> str:
    partner = fields.text("partner")
    require_id(partner, f"{fields.where}: the field 'partner'")
    return partner


def _path(fields: Fields, name: str, folder: Path) -> Path:
    text = fields.text(name)
    is_elsewhere = "://" in text or text.startswith(("//", "\\\\"))
    if not text.strip() or is_elsewhere or not text.isprintable():
        raise OptionError(f"{fields.where}: the field {name!r} must be a path on this machine, got {text[:80]!r}")
    return folder / text


def _data(fields: Fields, folder: Path) -> DataPlace:
    kind = fields.choice("kind", DataKind)
    is_folded = kind is DataKind.TASKS
    place = DataPlace(
        kind=kind,
        folder=_path(fields, "folder", folder),
        train_folds=_folds(fields, "train_folds") if is_folded else (),
        valid_folds=_folds(fields, "valid_folds") if is_folded else (),
    )
    fields.done()
    return place


def _folds(fields: Fields, name: str) -> tuple[int, ...]:
    value = fields.tree[name] if isinstance(fields.tree, Mapping) and fields.has(name) else None
    fields.taken.add(name)
    if not isinstance(value, list) or any(type(one) is not int for one in value):
        raise OptionError(f"{fields.where}: the field {name!r} must be a list of whole numbers")
    return tuple(one for one in value if isinstance(one, int))


def _store_url(text: str, folder: Path) -> str:
    """A file of SQLite is relative to the folder, as all paths are."""
    if not text.startswith(_SQLITE):
        return text
    return f"{_SQLITE}{folder.absolute() / text.removeprefix(_SQLITE)}"
