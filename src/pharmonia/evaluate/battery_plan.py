"""What a battery plans to compare: families of tests count all of it, however early the battery is stopped."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pharmonia.evaluate.battery import ALTERNATIVES, BatteryArm, CellKey, CellOutcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The settings that two or more seeds are planned for, finished or not.

    Which arms a setting has, its finished cells tell; one without any may have all, and counts. So a family may be too
    large, which makes calls rarer, and never too small.
    """

    federated: frozenset[CellKey]  # with a federated arm
    compared: frozenset[CellKey]  # of them, those with an alternative without pooling
    finished: frozenset[CellKey]  # of the compared, those with an outcome under every seed

    @property
    def means(self) -> frozenset[CellKey]:
        """The compared settings without their numbers of partners, which the gain of a scenario is a mean over."""
        return frozenset(replace(key, n_partners=1) for key in self.compared)


def plan_of(outcomes: Sequence[CellOutcome], unfinished: Sequence[tuple[CellKey, int]]) -> Plan:
    """The plan of a battery, from the outcomes of its finished cells and the settings and seeds of the others."""
    arms: dict[CellKey, list[frozenset[BatteryArm]]] = {}
    for outcome in outcomes:
        arms.setdefault(outcome.key, []).append(frozenset(score.arm for score in outcome.scores))
    left = Counter(key for key, _ in unfinished)
    planned = [key for key in {*arms, *left} if len(arms.get(key, ())) + left[key] > 1]
    federated = frozenset(key for key in planned if all(BatteryArm.FEDERATED in ran for ran in arms.get(key, ())))
    compared = frozenset(key for key in federated if all(ran & {*ALTERNATIVES} for ran in arms.get(key, ())))
    return Plan(federated=federated, compared=compared, finished=compared - {*left})
