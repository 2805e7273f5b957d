"""Partners in one process: parties, the engine between them, and sums as between companies."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pharmonia.base.arrays import Vector
from pharmonia.bench.charter import Charter
from pharmonia.bench.planned import RING_DEGREE, n_colluders
from pharmonia.data.partner import PartnerDataset
from pharmonia.engines.inprocess import InProcessEngine
from pharmonia.learn.contributions import federated_average
from pharmonia.learn.learner import Learner
from pharmonia.learn.local import LocalLearner
from pharmonia.learn.settings import Aggregation, LocalSettings, Method
from pharmonia.run.chronicled import Chronicled
from pharmonia.run.engine import Engine
from pharmonia.run.party import Party
from pharmonia.run.protection import InTheClear, Masked, Protection, SecureTerms
from pharmonia.run.sums import PlainSums, SecureSums, Sums
from pharmonia.run.transcript import Recorder, begin_recording, end_recording
from pharmonia.secagg.header import Tier
from pharmonia.secagg.keys import IdentityKey
from pharmonia.secagg.roster import Member, sorted_ids


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pins:
    """By partner's name, who it is in sums and with which key; and how many may collude."""

    ids: dict[str, str]
    identities: dict[str, IdentityKey]
    n_colluders: int
    ring_degree: int

    @property
    def members(self) -> tuple[Member, ...]:
        """Of the session, sorted by id."""
        keys = {self.ids[name]: identity.public for name, identity in self.identities.items()}
        return tuple(Member(id=partner, identity=keys[partner]) for partner in sorted_ids(list(keys)))

    def protection(self, name: str, home: Path) -> Masked:
        """A party's, with the other parties' keys pinned."""
        terms = SecureTerms(
            partner=self.ids[name],
            identity=self.identities[name],
            members=self.members,
            n_colluders=self.n_colluders,
            ring_degree=self.ring_degree,
            tier=Tier.COMMIT_THEN_MASK,
        )
        return Masked(terms, home)


def interaction_learners(
    datasets: Sequence[tuple[int, PartnerDataset]], local: LocalSettings, method: Method, seed: int
) -> list[tuple[int, str, Learner]]:
    """A learner of pairs for each data set, with its partner's number and name."""
    return [(index, dataset.name, LocalLearner(dataset, local, method, (seed, index))) for index, dataset in datasets]


def simulate(
    learners: Sequence[tuple[int, str, Learner]],
    aggregation: Aggregation,
    folder: Path,
    transcript: Path | None = None,
    charter: Charter | None = None,
) -> Simulation:
    """A party for each learner; a single one has nobody to hide among.

    Args:
        learners: Each with its partner's number and name.
        aggregation: What the coordinator may learn.
        folder: Where parties keep their private state.
        transcript: Where to write down all that the coordinator sees, from the run's first frame; None for nowhere.
        charter: The signed plan that the run is under, whose keys the parties use; None for none, with identities
            made for this run.

    Raises:
        OptionError: The run has begun without this transcript, or the transcript is of another run.
    """
    if transcript is None:
        end_recording(folder)
    else:
        begin_recording(folder, transcript, [name for _, name, _ in learners])
    secure = aggregation is Aggregation.SECURE and len(learners) > 1
    pins = _pins([name for _, name, _ in learners], charter)
    parties = {}
    for index, name, learner in learners:
        home = folder / f"party-{index}"
        protection: Protection = pins.protection(name, home) if secure else InTheClear()
        permit = None if charter is None else charter.seats[index].permit
        parties[name] = Party(learner, protection, home, permit)
    engine: Engine = InProcessEngine(parties)
    if transcript is not None:
        engine = Recorder(engine, transcript)
    if charter is not None:
        engine = Chronicled(engine, charter.chronicle, list(pins.ids.values()), masked=secure)
    if not secure:
        return Simulation(parties=parties, engine=engine, sums=PlainSums(engine))
    sums = SecureSums(engine, pins.members, n_colluders=pins.n_colluders, ring_degree=pins.ring_degree)
    return Simulation(parties=parties, engine=engine, sums=sums)


def _pins(names: list[str], charter: Charter | None) -> _Pins:
    if charter is None:
        return _Pins(
            ids={name: name for name in names},
            identities={name: IdentityKey.generate() for name in names},
            n_colluders=n_colluders(len(names)),
            ring_degree=RING_DEGREE,
        )
    terms = charter.plan.aggregation
    return _Pins(
        ids={name: seat.partner for name, seat in zip(names, charter.seats, strict=True)},
        identities={name: IdentityKey(seat.key.private) for name, seat in zip(names, charter.seats, strict=True)},
        n_colluders=terms.n_colluders,
        ring_degree=terms.ring_degree,
    )
