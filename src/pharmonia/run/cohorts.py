"""Among whom the contributions of a run were summed: on the disk, so that none is ever summed again among others.

From two sums of the same contributions, one of them without a partner, that partner's own contribution follows. A run
that is resumed makes its last contributions again, so that what was summed must outlive the process. The same
contributions are those of one step of the run, from whatever model and of whatever layout: of models that differ in a
bit they are nearly the same. They are also those that start from one model, at whatever step.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pharmonia.base.errors import InputError, MessageError, ReplayError, StoreError
from pharmonia.learn.messages import Broadcast, Message, StatisticsRequest
from pharmonia.run.files import make_durably, write_whole
from pharmonia.run.ledgerfile import append_durably

COHORTS_FILE = "cohorts.jsonl"  # of a run, at each party and at the coordinator
KEPT = 10_000  # more than the steps between two checkpoints

Place = tuple[int, int]  # of a contribution in its run: round and step
Cohort = tuple[str, ...]
STATISTICS: Place = (-1, 0)  # before round 0
_BEFORE_ALL: Place = (-2, 0)


def place_of(request: Message) -> Place:
    """Where in its run the contribution is that a coordinator asks for.

    Raises:
        MessageError: This asks for none.
    """
    match request:
        case StatisticsRequest():
            return STATISTICS
        case Broadcast(round_index=round_index, step=step):
            return round_index, step
        case _:
            raise MessageError(f"a {type(request).__name__} begins no sum")


class Cohorts:
    """Which partners' contributions each sum was made of.

    Guarantees:
        one_cohort_per_contribution: What is contributed at one place of the run is summed among one set of partners, or
            not at all; so is what starts from one shared vector. Whoever signs asks first.
        refused_not_forgotten: Of more than `KEPT` sums the earliest places are dropped, and refused from then on.
    """

    def __init__(self, path: Path) -> None:
        """Path: of the run's file, made when first needed."""
        self._path = path
        self._kept: _Kept | None = None
        self._n_lines = 0

    def of(self, place: Place, model_digest: bytes) -> Cohort | None:
        """Among whom contributions of this place, or from this model, were summed; None if they were not.

        Raises:
            ReplayError: The place is too old to say, or those of the place and those from the model had other partners.
            StoreError: The file is damaged.
            InputError: It cannot be read.
        """
        kept = self._read()
        if place <= kept.dropped:
            raise ReplayError(f"{_named(place)} was too long ago to say among whom; begin a new run, with another plan")
        here, there = kept.places.get(place), kept.places.get(kept.newest.get(model_digest.hex(), _BEFORE_ALL))
        if here is not None and there is not None and here.cohort != there.cohort:
            raise ReplayError(
                f"{_named(place)} was summed among {', '.join(here.cohort)}, and what starts from its model among "
                f"{', '.join(there.cohort)}; begin a new run"
            )
        found = here or there
        return None if found is None else found.cohort

    def settle(self, place: Place, model_digest: bytes, partners: Sequence[str]) -> None:
        """State the partners of a sum; outlives this process, and the power, when it returns.

        Args:
            place: Of its contributions.
            model_digest: Of the shared vector that they start from.
            partners: Sorted.

        Raises:
            ReplayError: The same contributions were summed among others, or what is kept has no room for so old ones.
            StoreError: The file is damaged.
            InputError: The disk is full, or cannot be read or written; nothing is settled.
        """
        before, cohort, model = self.of(place, model_digest), tuple(partners), model_digest.hex()
        kept = self._read()
        if before is not None and before != cohort:
            raise ReplayError(
                f"these contributions were summed among {', '.join(before)}, and are not summed again among "
                f"{', '.join(cohort)}; bring the same partners back, or begin a new run"
            )
        if kept.has(place, model):
            return
        if kept.n_sums >= KEPT and place <= min(kept.places):
            raise ReplayError(f"{KEPT} sums are kept that are no earlier than {_named(place)}; begin a new run")
        self._append(_line(place, model, cohort))
        kept.add(place, model, cohort)

    def _append(self, line: bytes) -> None:
        if self._n_lines >= 2 * KEPT:
            self._rewrite(self._read())
        if not self._n_lines:
            make_durably(self._path)
        append_durably(self._path, line)  # takes back what it could not write whole
        self._n_lines += 1

    def _read(self) -> "_Kept":
        if self._kept is None:
            try:
                content = self._path.read_bytes()
            except FileNotFoundError:
                content = b""
            except OSError as error:
                raise InputError(f"cannot read {self._path}: {error.strerror}") from error
            *whole, rest = content.split(b"\n")  # the rest was being written when the power went: nobody acted on it
            kept = _Kept()
            try:
                for line in whole:
                    _take(kept, line)
            except ValueError as error:
                raise StoreError(f"{self._path} is damaged ({error}); begin a new run, with another plan") from error
            self._n_lines = len(whole)
            if rest or len(whole) > KEPT + 1:
                self._rewrite(kept)
            self._kept = kept
        return self._kept

    def _rewrite(self, kept: "_Kept") -> None:
        """Leave out what was dropped."""
        lines = [] if kept.dropped == _BEFORE_ALL else [_dropped_line(kept.dropped)]
        for place, sums in kept.places.items():
            lines += [_line(place, model, sums.cohort) for model in sums.models]
        write_whole(self._path, b"".join(lines))
        self._n_lines = len(lines)


@dataclass(slots=True, kw_only=True)
class _Sums:
    """Those of a place: more than one model only where a resumed run did not come to the same bits."""

    cohort: Cohort
    models: list[str]  # digests, in hexadecimal


@dataclass(slots=True)
class _Kept:
    """The sums at the newest places, and which places were dropped."""

    places: dict[Place, _Sums] = field(default_factory=dict)
    newest: dict[str, Place] = field(default_factory=dict)  # of each model, the last place that it was the start of
    dropped: Place = _BEFORE_ALL  # with all before it
    n_sums: int = 0

    def has(self, place: Place, model: str) -> bool:
        """Whether this sum is among them."""
        return place in self.places and model in self.places[place].models

    def add(self, place: Place, model: str, cohort: Cohort) -> None:
        """Keep a sum that is not among them; where there are too many, drop the earliest place."""
        self.places.setdefault(place, _Sums(cohort=cohort, models=[])).models.append(model)
        self.newest[model] = max(place, self.newest.get(model, _BEFORE_ALL))
        self.n_sums += 1
        while self.n_sums > KEPT:
            self.dropped = min(self.places)
            gone = self.places.pop(self.dropped)
            self.n_sums -= len(gone.models)
            for one in gone.models:
                if self.newest[one] == self.dropped:
                    del self.newest[one]


def _named(place: Place) -> str:
    return "the sum before round 0" if place == STATISTICS else f"step {place[1]} of round {place[0]}"


def _line(place: Place, model: str, cohort: Cohort) -> bytes:
    return json.dumps([*place, model, list(cohort)], ensure_ascii=True, separators=(",", ":")).encode() + b"\n"


def _dropped_line(place: Place) -> bytes:
    return json.dumps(["dropped", *place], separators=(",", ":")).encode() + b"\n"


def _take(kept: _Kept, line: bytes) -> None:
    """Take up what `_line` or `_dropped_line` wrote.

    Raises:
        ValueError: They did not write this.
    """
    match json.loads(line):
        case [int(round_index), int(step), str(model), list(partners)] if all(
            isinstance(partner, str) for partner in partners
        ):
            place, cohort = (round_index, step), tuple(partners)
            sums = kept.places.get(place)
            if place <= kept.dropped or (sums is not None and sums.cohort != cohort):
                raise ValueError(f"{_named(place)} stands there twice")
            if not kept.has(place, model):
                kept.add(place, model, cohort)
        case ["dropped", int(round_index), int(step)] if not kept.places:
            kept.dropped = (round_index, step)
        case other:
            raise ValueError(f"{str(other)[:80]} is no sum and its partners")
