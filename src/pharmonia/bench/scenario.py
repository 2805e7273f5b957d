"""Ownership scenarios by name: who measured what, in the words of the command line and of battery files."""

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from pharmonia.base.errors import OptionError, UnknownNameError
from pharmonia.base.owncode import OwnCode
from pharmonia.bench.own_scenario import KIND, OwnScenario
from pharmonia.chem.families import family_groups
from pharmonia.chem.graphs import Indices
from pharmonia.chem.scaffolds import scaffold_groups
from pharmonia.data import ownership
from pharmonia.data.interactions import Interactions
from pharmonia.data.ownership import Owners
from pharmonia.data.partition import Partition, require_partners


class ScenarioKind(StrEnum):
    """How rows are shared out between partners."""

    IID = "iid"  # rows at random, in equal numbers
    TARGET = "target"  # each target with all its rows to one partner
    COMPOUND = "compound"  # each compound with all its rows to one partner
    DIFFUSED_TARGET = "diffused-target"  # between target and iid
    DIFFUSED_COMPOUND = "diffused-compound"  # between compound and iid
    SIZE_SKEW = "size-skew"  # rows at random, in unequal numbers
    SCAFFOLD = "scaffold"  # each scaffold with all its compounds to one partner
    FAMILY = "family"  # each family of targets to one partner
    DIRICHLET = "dirichlet"  # each target in random shares
    WEAK = "weak"  # a master, and others with little


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterRange:
    """What the number behind a scenario's name means, and its range, both ends included."""

    name: str
    lowest: float
    highest: float


PARAMETERS = {
    ScenarioKind.DIFFUSED_TARGET: ParameterRange(name="VARIANCE", lowest=0.0001, highest=100),
    ScenarioKind.DIFFUSED_COMPOUND: ParameterRange(name="VARIANCE", lowest=0.0001, highest=100),
    ScenarioKind.SIZE_SKEW: ParameterRange(name="RATIO", lowest=1, highest=1_000),
    ScenarioKind.DIRICHLET: ParameterRange(name="ALPHA", lowest=0.001, highest=1_000),
    ScenarioKind.WEAK: ParameterRange(name="SHARE", lowest=0.1, highest=1),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One way of sharing out rows; as text `iid`, `target`, `diffused-target:0.1`, `weak:0.3` and so on.

    Args:
        kind: The way.
        parameter: Its number, where it has one (`PARAMETERS`); None where not.

    Raises:
        OptionError: The number is missing, out of range, or not asked for.
    """

    kind: ScenarioKind
    parameter: float | None = None

    def __post_init__(self) -> None:
        asked = PARAMETERS.get(self.kind)
        if asked is None:
            if self.parameter is not None:
                raise OptionError(f"the scenario {self.kind} takes no number, got {self.parameter!r}")
            return
        wanted = f"{self.kind}:{asked.name} with {asked.name} from {asked.lowest:g} to {asked.highest:g}"
        if self.parameter is None:
            raise OptionError(f"the scenario {self.kind} needs a number: {wanted}")
        if not (math.isfinite(self.parameter) and asked.lowest <= self.parameter <= asked.highest):
            raise OptionError(f"expected {wanted}, got {self.parameter!r}")

    @classmethod
    def parse(cls, text: str) -> "Scenario":
        """The scenario of a text such as `target` or `diffused-target:0.1`.

        Raises:
            UnknownNameError: No scenario of that name; the message lists all.
            OptionError: The number is missing, none, out of range, or not asked for.
        """
        name, colon, number = text.strip().partition(":")
        try:
            kind = ScenarioKind(name)
        except ValueError as error:
            raise UnknownNameError(f"no scenario {name!r}; choose {', '.join(scenario_forms())}") from error
        if not colon:
            return cls(kind=kind)
        try:
            return cls(kind=kind, parameter=float(number))
        except ValueError as error:
            raise OptionError(f"the scenario {kind} needs a number after the colon, got {number!r}") from error

    def __str__(self) -> str:
        """Shortest text that `parse` reads as this scenario."""
        if self.parameter is None:
            return self.kind.value
        return f"{self.kind}:{np.format_float_positional(self.parameter, trim='-')}"

    @property
    def identity(self) -> str:
        """What run ids know it by."""
        return str(self)


def scenario_forms() -> tuple[str, ...]:
    """How each scenario is written: `iid`, ..., `diffused-target:VARIANCE`, ..."""
    return tuple(f"{kind}:{PARAMETERS[kind].name}" if kind in PARAMETERS else kind.value for kind in ScenarioKind)


def scenario_of(text: str, code: OwnCode | None) -> Scenario | OwnScenario:
    """The scenario of a text, Pharmonia's or of one's own.

    Raises:
        UnknownNameError: No scenario of that name; the message lists all.
        OptionError: The number is missing, none, out of range, or not asked for; or a name in the code is Pharmonia's.
    """
    own = () if code is None else code.names(KIND)
    if code is None or not own:
        return Scenario.parse(text)
    if taken := sorted(set(own) & set(ScenarioKind)):
        raise OptionError(f"{code.file}: Pharmonia has a scenario {taken[0]!r} itself; choose another name")
    name, colon, number = text.strip().partition(":")
    if name not in own:
        if name not in set(ScenarioKind):
            known = ", ".join([*scenario_forms(), *own])
            raise UnknownNameError(f"no scenario {name!r}; choose {known}")
        return Scenario.parse(text)
    try:
        return OwnScenario(code=code, name=name, parameter=float(number) if colon else None)
    except ValueError as error:
        raise OptionError(f"{text!r}: after the colon comes a number") from error


def share_rows(
    scenario: Scenario | OwnScenario, interactions: Interactions, n_partners: int, rng: np.random.Generator
) -> Partition:
    """Share out the rows between partners as the scenario has it.

    Raises:
        PartitionError: The number of partners is out of range or too large for the data, or one is left without rows.
        OptionError: A function of one's own failed.
    """
    require_partners(n_partners)
    if isinstance(scenario, OwnScenario):
        owner = scenario.owners(interactions, n_partners, rng)
    else:
        owner = _owners(scenario, interactions, n_partners, rng)
    return Partition(n_partners=n_partners, owner=owner)


def _owners(scenario: Scenario, interactions: Interactions, n_partners: int, rng: np.random.Generator) -> Owners:
    n_rows, number = len(interactions.pairs), scenario.parameter or 0.0  # 0 where the scenario has none
    groups, things = _groups(scenario.kind, interactions)
    match scenario.kind:
        case ScenarioKind.IID:
            owner = ownership.iid(n_rows, n_partners, rng)
        case ScenarioKind.TARGET | ScenarioKind.COMPOUND | ScenarioKind.SCAFFOLD | ScenarioKind.FAMILY:
            owner = ownership.by_group(groups, things, n_partners, rng)
        case ScenarioKind.DIFFUSED_TARGET | ScenarioKind.DIFFUSED_COMPOUND:
            owner = ownership.diffused(groups, things, n_partners, number, rng)
        case ScenarioKind.SIZE_SKEW:
            owner = ownership.size_skewed(n_rows, n_partners, number, rng)
        case ScenarioKind.DIRICHLET:
            owner = ownership.dirichlet(groups, n_partners, number, rng)
        case ScenarioKind.WEAK:
            owner = ownership.weak(n_rows, n_partners, number, rng)
    return owner


def _groups(kind: ScenarioKind, interactions: Interactions) -> tuple[Indices, str]:
    """The group of each row, and what groups are called."""
    pairs = interactions.pairs
    match kind:
        case ScenarioKind.COMPOUND | ScenarioKind.DIFFUSED_COMPOUND:
            return pairs.compound, "compounds"
        case ScenarioKind.SCAFFOLD:
            return scaffold_groups(interactions.smiles)[pairs.compound], "scaffolds"
        case ScenarioKind.FAMILY:
            return family_groups(interactions.sequences)[pairs.target], "protein families"
        case _:
            return pairs.target, "targets"
