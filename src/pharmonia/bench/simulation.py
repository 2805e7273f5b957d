"""Partners in one process: parties, the engine between them, and sums as between companies."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pharmonia.base.arrays import Vector
from pharmonia.data.partner import PartnerDataset
from pharmonia.engines.inprocess import InProcessEngine
from pharmonia.learn.contributions import federated_average
from pharmonia.learn.local import LocalLearner
from pharmonia.learn.settings import Aggregation
from pharmonia.run.engine import Engine
from pharmonia.run.party import Party
from pharmonia.run.protection import InTheClear, Masked, Protection, SecureTerms
from pharmonia.run.records import TrainingPlan
from pharmonia.run.sums import PlainSums, SecureSums, Sums
from pharmonia.run.transcript import Recorder
from pharmonia.secagg.keys import IdentityKey
from pharmonia.secagg.roster import Member, sorted_ids

RING_DEGREE = 8  # neighbours of each partner when more than 10 take part


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """Parties in this process and what joins them.

    Args:
        parties: By partner's name.
        engine: Carries their frames.
        sums: Secure or plain.
    """

    parties: dict[str, Party]
    engine: Engine
    sums: Sums

    def sum_error(self, mean: Vector) -> float:
        """How far a mean is from the float64 mean of what the parties contributed.

        The largest difference of an element, as a share of the largest element of its tensor; totals left out.
        """
        contributions = [party.last_contribution for party in self.parties.values()]
        exact = federated_average(contributions)
        lengths = next(iter(self.parties.values())).change_lengths
        starts = np.cumsum((0, *lengths[:-1]))
        stop = sum(lengths)
        differences = np.maximum.reduceat(np.abs(mean[:stop] - exact[:stop]), starts)
        peaks = np.maximum.reduceat(np.abs(exact[:stop]), starts)
        return float((differences[peaks > 0] / peaks[peaks > 0]).max(initial=0.0))


def n_colluders(n_partners: int) -> int:
    """Partners that may help the server without learning another's update: one, or with two partners none."""
    return 0 if n_partners == 2 else 1


def simulate(
    datasets: Sequence[tuple[int, PartnerDataset]],
    plan: TrainingPlan,
    aggregation: Aggregation,
    folder: Path,
    transcript: Path | None = None,
) -> Simulation:
    """A party for each data set, with identities made for this run; a single one has nobody to hide among.

    Args:
        datasets: Each with its partner's number.
        plan: Of the run.
        aggregation: What the coordinator may learn.
        folder: Where parties keep their private state.
        transcript: Where to write down all that the coordinator sees; None for nowhere.
    """
    secure = aggregation is Aggregation.SECURE and len(datasets) > 1
    names = [dataset.name for _, dataset in datasets]
    identities = {name: IdentityKey.generate() for name in names} if secure else {}
    members = tuple(Member(id=name, identity=identities[name].public) for name in sorted_ids(list(identities)))
    parties = {}
    for index, dataset in datasets:
        home = folder / f"party-{index}"
        protection: Protection = InTheClear()
        if secure:
            terms = SecureTerms(
                partner=dataset.name,
                identity=identities[dataset.name],
                members=members,
                n_colluders=n_colluders(len(names)),
                ring_degree=RING_DEGREE,
            )
            protection = Masked(terms, home)
        learner = LocalLearner(dataset, plan.local, plan.method, (plan.seed, index))
        parties[dataset.name] = Party(learner, protection, home)
    engine: Engine = InProcessEngine(parties)
    if transcript is not None:
        engine = Recorder(engine, transcript)
    if not secure:
        return Simulation(parties=parties, engine=engine, sums=PlainSums(engine))
    sums = SecureSums(engine, members, n_colluders=n_colluders(len(names)), ring_degree=RING_DEGREE)
    return Simulation(parties=parties, engine=engine, sums=sums)
