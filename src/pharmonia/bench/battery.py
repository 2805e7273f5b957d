"""A battery of benchmarks: a small readable file that names scenarios, protocols, models, methods and seeds."""

import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import product
from pathlib import Path
from typing import TypeGuard, TypeVar

from pharmonia.base.canonical import Json
from pharmonia.base.errors import DataFileError, InputError, OptionError, PharmoniaError
from pharmonia.base.owncode import OwnCode
from pharmonia.bench.arms import ArmJob, Baseline, BaselineJob, DistilledJob, Job
from pharmonia.bench.scenario import scenario_of
from pharmonia.bench.settings import MAX_SEEDS, ComparisonSettings
from pharmonia.data.splits import SplitKind
from pharmonia.evaluate.battery import BatteryArm, CellKey
from pharmonia.evaluate.outcome import Arm
from pharmonia.learn.algorithms import Schedule
from pharmonia.learn.settings import Aggregation, LocalSettings, Method, Optimiser
from pharmonia.nn.choices import Model, Norm

DEFAULT_ARMS = (BatteryArm.ALONE, BatteryArm.ENSEMBLE, BatteryArm.ENSEMBLE_WEIGHTED, BatteryArm.FEDERATED)
_OF_ALONE = {BatteryArm.ALONE, BatteryArm.ENSEMBLE, BatteryArm.ENSEMBLE_WEIGHTED, BatteryArm.DISTILLED}
_ONE_SIDED = {BatteryArm.LIGAND_ONLY: Model.LIGAND_ONLY, BatteryArm.TARGET_ONLY: Model.TARGET_ONLY}
_BASELINES = {BatteryArm.BOOSTED: Baseline.BOOSTED, BatteryArm.ADDITIVE: Baseline.ADDITIVE}
_TOP_KEYS = {"name", "title", "seeds", "public", "code", "training", "block"}
_TRAINING_KEYS = {
    "rounds", "patience", "batch_size", "local_epochs", "learning_rate", "optimiser", "aggregation"
}  # fmt: skip
_BLOCK_KEYS = {"datasets", "scenarios", "partners", "protocols", "models", "norms", "methods", "arms"}

Table = dict[str, Json]
ChoiceT = TypeVar("ChoiceT", bound=StrEnum)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One combination under one seed.

    Args:
        settings: With this seed alone.
        arms: Which arms it compares.
        public: Whose compounds are public; empty where nothing is distilled.
    """

    settings: ComparisonSettings
    arms: tuple[BatteryArm, ...]
    public: str

    @property
    def seed(self) -> int:
        """Its seed."""
        return self.settings.seeds[0]

    @property
    def key(self) -> CellKey:
        """Everything but its seed, as reports have it."""
        s = self.settings
        return CellKey(
            dataset=s.dataset,
            scenario=str(s.scenario),
            protocol=s.split,
            n_partners=s.n_partners,
            model=s.local.model,
            norm=s.local.norm,
            method=str(s.method),
        )

    @property
    def title(self) -> str:
        """What tells it from every other, for people."""
        k = self.key
        setting = (k.dataset, k.scenario, k.protocol, f"{k.n_partners} partners", k.model, k.norm, k.method)
        return ", ".join([*setting, f"seed {self.seed}"])

    def jobs(self) -> dict[tuple[BatteryArm, int | None], Job]:
        """What must be done for it, by arm and, for models of one partner, by partner."""
        found: dict[tuple[BatteryArm, int | None], Job] = {}
        own = _without_method(self.settings)
        for arm in self.arms:
            if arm in _OF_ALONE:
                for partner in range(own.n_partners):
                    job = ArmJob(settings=own, seed=self.seed, arm=Arm.ALONE, partner=partner)
                    found[BatteryArm.ALONE, partner] = job
            if arm is BatteryArm.FEDERATED:
                found[arm, None] = ArmJob(settings=self.settings, seed=self.seed, arm=Arm.FEDERATED, partner=None)
            elif arm is BatteryArm.POOLED:
                found[arm, None] = ArmJob(settings=own, seed=self.seed, arm=Arm.POOLED, partner=None)
            elif arm in _ONE_SIDED:
                settings = replace(own, local=replace(own.local, model=_ONE_SIDED[arm], norm=Norm.BATCH))
                found[arm, None] = ArmJob(settings=settings, seed=self.seed, arm=Arm.POOLED, partner=None)
            elif arm in _BASELINES:
                found[arm, None] = BaselineJob(settings=own, seed=self.seed, baseline=_BASELINES[arm])
            elif arm is BatteryArm.DISTILLED:
                found[arm, None] = DistilledJob(settings=own, seed=self.seed, public=self.public)
        return found


def _without_method(settings: ComparisonSettings) -> ComparisonSettings:
    """The settings that runs of one owner share whatever the partners' method."""
    return replace(settings, method=Method(), aggregation=Aggregation.SECURE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Battery:
    """All cells of a battery.

    Args:
        name: Of the battery.
        title: One line for people.
        cells: In the order of the file, seeds innermost.
        training: What every cell trains with, in the file's words.
        code: Scenarios and methods of one's own; None without.

    Raises:
        OptionError: No cells, or one cell twice.
    """

    name: str
    title: str
    cells: tuple[Cell, ...]
    training: tuple[tuple[str, str], ...]
    code: OwnCode | None = None

    def __post_init__(self) -> None:
        if not self.cells:
            raise OptionError(f"battery {self.name} has no cells")
        counts = Counter((cell.key, cell.seed) for cell in self.cells)
        if twice := [cell.title for cell in self.cells if counts[cell.key, cell.seed] > 1]:
            raise OptionError(f"battery {self.name} has a cell twice: {twice[0]}; name it in one [[block]]")

    def jobs(self) -> tuple[list[Job], list[Job]]:
        """What must be done once each: first what stands by itself, then what needs the first; cell by cell."""
        jobs = list(dict.fromkeys(job for cell in self.cells for job in cell.jobs().values()))
        second: list[Job] = [job for job in jobs if isinstance(job, DistilledJob)]
        first: list[Job] = [job for job in jobs if not isinstance(job, DistilledJob)]
        return first, second


def read_battery(path: Path) -> Battery:
    """The battery in a TOML file.

    Raises:
        DataFileError: The file is not there, or is no TOML.
        InputError: A name, number or combination in it that cannot be; the message names file and entry.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataFileError(f"{path} cannot be read as a battery file: {error}") from error
    try:
        return _battery(content, _code(content, path.parent))
    except (PharmoniaError, TypeError, ValueError) as error:
        raise InputError(f"{path}: {error}") from error


def _code(content: Table, folder: Path) -> OwnCode | None:
    """The file of one's own that a battery names, beside the battery's."""
    name = content.get("code")
    if name is None:
        return None
    if not isinstance(name, str) or Path(name).name != name or not name.endswith(".py"):
        raise OptionError(f'code must be a Python file beside the battery, such as code = "mine.py", got {name!r}')
    try:
        return OwnCode(file=name, source=(folder / name).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise DataFileError(f"code = {name!r} cannot be read: {error}") from error


def _battery(content: Table, code: OwnCode | None) -> Battery:
    _require_keys(content, _TOP_KEYS, "the battery")
    name = content.get("name")
    if not isinstance(name, str) or not name.strip():
        raise OptionError(f'a battery needs a name, such as name = "mine", got {name!r}')
    training = _table(content, "training")
    _require_keys(training, _TRAINING_KEYS, "[training]")
    seeds = content.get("seeds", 1)
    if not _is_whole(seeds) or not 1 <= seeds <= MAX_SEEDS:
        raise OptionError(f"seeds must be a whole number from 1 to {MAX_SEEDS}, got {seeds!r}")
    blocks = content.get("block", [])
    if not isinstance(blocks, list) or not blocks:
        raise OptionError("at least one [[block]] is needed")
    public = str(content.get("public", ""))
    cells = [cell for block in blocks for cell in _cells(block, training, seeds, public, code)]
    return Battery(
        name=name,
        title=str(content.get("title", "")),
        cells=tuple(cells),
        training=tuple((name, str(value)) for name, value in training.items()),
        code=code,
    )


def _cells(block: Json, training: Table, seeds: int, public: str, code: OwnCode | None) -> list[Cell]:
    if not isinstance(block, dict):
        raise OptionError(f"[[block]] must be a table, got {block!r}")
    _require_keys(block, _BLOCK_KEYS, "[[block]]")
    arms = _choices(BatteryArm, block, "arms", DEFAULT_ARMS)
    if BatteryArm.DISTILLED in arms and not public:
        raise OptionError('arms has "distilled", which needs public = "NAME", a data set whose compounds are public')
    combinations = product(
        _texts(block, "datasets", ("kiba-sample",)),
        [scenario_of(text, code) for text in _texts(block, "scenarios", ("target",))],
        _choices(SplitKind, block, "protocols", (SplitKind.RANDOM,)),
        _numbers(block, "partners", (4,)),
        _choices(Model, block, "models", (Model.GIN,)),
        _choices(Norm, block, "norms", (Norm.BATCH,)),
        [Method.parse(text, code) for text in _texts(block, "methods", ("fedavg",))],
        range(seeds),
    )
    return [
        Cell(
            settings=ComparisonSettings(
                dataset=dataset,
                n_partners=n_partners,
                scenario=scenario,
                split=protocol,
                seeds=(seed,),
                local=_local(training, model, norm),
                method=method,
                aggregation=_choice(Aggregation, training, "aggregation", Aggregation.SECURE),
                schedule=Schedule(rounds=_number(training, "rounds", 60), patience=_number(training, "patience", 60)),
            ),
            arms=arms,
            public=public if BatteryArm.DISTILLED in arms else "",
        )
        for dataset, scenario, protocol, n_partners, model, norm, method, seed in combinations
    ]


def _local(training: Table, model: Model, norm: Norm) -> LocalSettings:
    rate = training.get("learning_rate", 5e-4)
    if not isinstance(rate, float):
        raise OptionError(f"learning_rate must be a number such as 0.0005, got {rate!r}")
    return LocalSettings(
        model=model,
        norm=norm,
        optimiser=_choice(Optimiser, training, "optimiser", Optimiser.ADAM),
        learning_rate=rate,
        batch_size=_number(training, "batch_size", 128),
        local_epochs=_number(training, "local_epochs", 1),
    )


def _require_keys(table: Table, known: set[str], where: str) -> None:
    if unknown := sorted(set(table) - known):
        raise OptionError(f"{where} has {', '.join(unknown)}; it may have {', '.join(sorted(known))}")


def _table(content: Table, name: str) -> Table:
    value = content.get(name, {})
    if not isinstance(value, dict):
        raise OptionError(f"[{name}] must be a table, got {value!r}")
    return value


def _items(table: Table, name: str) -> list[Json] | None:
    value = table.get(name)
    if value is None:
        return None
    if not isinstance(value, list) or not value:
        raise OptionError(f"{name} must be a list that is not empty, got {value!r}")
    return value


def _texts(table: Table, name: str, default: Sequence[str]) -> tuple[str, ...]:
    items = _items(table, name)
    return tuple(default) if items is None else tuple(str(item) for item in items)


def _choices(kind: type[ChoiceT], table: Table, name: str, default: Sequence[ChoiceT]) -> tuple[ChoiceT, ...]:
    texts = _texts(table, name, default)
    if unknown := [text for text in texts if text not in set(kind)]:
        raise OptionError(f"{name} has {', '.join(unknown)}; it may have {', '.join(kind)}")
    if len(set(texts)) != len(texts):
        raise OptionError(f"{name} has an entry twice: {', '.join(texts)}")
    return tuple(kind(text) for text in texts)


def _choice(kind: type[ChoiceT], table: Table, name: str, default: ChoiceT) -> ChoiceT:
    value = table.get(name, default)
    if value not in set(kind):
        raise OptionError(f"{name} is {value!r}; it may be {', '.join(kind)}")
    return kind(str(value))


def _numbers(table: Table, name: str, default: Sequence[int]) -> tuple[int, ...]:
    items = _items(table, name)
    if items is None:
        return tuple(default)
    numbers = [item for item in items if _is_whole(item)]
    if len(numbers) != len(items):
        raise OptionError(f"{name} must be whole numbers, got {items}")
    return tuple(numbers)


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(table: Table, name: str, default: int) -> int:
    value = table.get(name, default)
    if not _is_whole(value):
        raise OptionError(f"{name} must be a whole number, got {value!r}")
    return value
