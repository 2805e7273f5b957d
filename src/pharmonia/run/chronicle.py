"""The coordinator's side of the ledger: what a run under a plan writes, and a copy of it to every partner.

A round is on the ledger before its header leaves, and a refusal before anybody hears of it. Every learning round ends
with a checkpoint that all partners at hand have cosigned.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from pharmonia.base.errors import (
    AgreementError,
    DiskFullError,
    EngineError,
    EvidenceError,
    HeaderError,
    LedgerError,
    PharmoniaError,
    RefusedError,
    RegroupError,
    RosterError,
    RoundLostError,
    StoreError,
    UnreachableError,
    UpdateError,
)
from pharmonia.governance.agreement import Agreement
from pharmonia.governance.events import (
    AgreementAdopted,
    Evaluated,
    Event,
    Exporting,
    Failed,
    FailureCode,
    PlanFiled,
    RecordedFigure,
    RoundAggregated,
    RoundOpened,
)
from pharmonia.governance.ledger import MAX_EVENTS, Entry
from pharmonia.governance.permissions import decide
from pharmonia.governance.plan import RunPlan
from pharmonia.governance.terms import Action, ResourceKind
from pharmonia.run.copies import Copies, LedgerCopy, of_each
from pharmonia.run.files import cannot_write
from pharmonia.run.refusals import Refusal
from pharmonia.run.statements import require_opening, require_own
from pharmonia.run.witness import Witness


class Chronicle:
    """Writes what happens under one plan into the coordinator's ledger and, line for line, into every copy."""

    def __init__(
        self,
        plan: RunPlan,
        versions: Sequence[Agreement],
        own: Witness,
        others: Sequence[LedgerCopy],
        now: Callable[[], datetime],
    ) -> None:
        """Versions: of the agreement, all that are accepted; own: the coordinator's copy; others: the partners'."""
        self._plan = plan
        self._versions = tuple(versions)
        self._own = own
        self._others = Copies(others, goes_on=plan.goes_on)
        self._now = now
        self._open: tuple[str, int, tuple[str, ...]] | None = None  # session, round and contributors of the last header
        keys = {copy.partner: copy.public.key_id for copy in (own, *self._others.all)}
        self._keys: Mapping[str, str] = keys

    def begin(self, openings: Mapping[str, Callable[[], Entry | None]]) -> None:
        """Put agreement and plan on the ledger, and what each party states before a run; then a checkpoint.

        Args:
            openings: By partner; asked one after the other, as each counts its own entries.

        Raises:
            AgreementError: The ledger knows a newer version of the agreement.
            LedgerError: A partner's copy is not the beginning of ours, or it states what is not its to state.
        """
        self._others.each(lambda other: other.catch_up(self._own))
        n_adopted = self._own.standing.n_adopted
        if n_adopted > len(self._versions):
            raise AgreementError(
                f"the ledger has version {n_adopted} of the agreement in force, but the file holds "
                f"{len(self._versions)} accepted versions; ask a partner for the newest"
            )
        pending = [AgreementAdopted(version=one.version, agreement=one.digest) for one in self._versions[n_adopted:]]
        for start in range(0, len(pending), MAX_EVENTS):  # in one entry: our key may be none of the versions between
            self._record(self._own.state(pending[start : start + MAX_EVENTS], self._now()))
        if self._plan.digest not in self._own.standing.plans:
            self._say(PlanFiled(plan=self._plan.digest))
        for partner, opening in openings.items():
            try:
                entry = opening()
            except UnreachableError:
                if not self._others.goes_on:
                    raise
                continue
            if entry is not None:
                require_opening(entry, partner, self._own.standing.plans, self._versions[-1])
                now = self._now()
                require_own(entry, partner, self._keys.get(partner), max(now, self._own.standing.latest or now), now)
                self._record(entry)
        self.checkpoint()

    def opened(self, session: str, round_index: int, header: str, contributors: Sequence[str]) -> None:
        """A round begins among these partners; on every disk before its header leaves."""
        keys = tuple(sorted(self._keys[partner] for partner in contributors))
        self._say(
            RoundOpened(
                plan=self._plan.digest, session=session, round_index=round_index, header=header, contributors=keys
            )
        )
        self._open = (session, round_index, keys)

    def stayed(self, survivors: Sequence[str]) -> None:
        """Of the round's contributors, these are in its sum."""
        if self._open is not None:
            session, round_index, _ = self._open
            self._open = (session, round_index, tuple(sorted(self._keys[partner] for partner in survivors)))

    def aggregated(self, digest: str) -> None:
        """The model after a learning round, which is that of its last sum; with a checkpoint."""
        if self._open is None:
            raise StoreError("a model changed without a round that the ledger knows of")
        session, round_index, keys = self._open
        self._say(RoundAggregated(session=session, round_index=round_index, aggregate=digest, contributors=keys))
        self._open = None
        self.checkpoint()

    def refused(self, refusals: Sequence[Refusal]) -> None:
        """What parties state who refuse; all of it on our own copy before a copy that is away can end this.

        Raises:
            LedgerError: One states it in a stranger's name or at a wrong time; the others' are recorded.
        """
        wrong: LedgerError | None = None
        rightful = []
        for refusal in refusals:
            try:
                self._require_refusal(refusal)
            except LedgerError as error:
                wrong = error
            else:
                self._append(refusal.entry)
                rightful.append(refusal.entry)
        if rightful:
            self._others.each(lambda other: other.take(rightful))
        if wrong is not None:
            raise wrong

    def evaluated(self, model: str, results: str, figures: tuple[RecordedFigure, ...]) -> None:
        """A model's figures, unless these results are on the ledger already."""
        if results not in self._own.standing.results:
            self._say(Evaluated(plan=self._plan.digest, model=model, results=results, figures=figures))

    def handed_over(self, what: ResourceKind, content: str, partner: str, agreement: Agreement) -> None:
        """The coordinator hands a result to a partner; on the ledger before it leaves.

        Raises:
            RefusedError: The agreement does not allow it.
        """
        decide(agreement, {}, partner, Action.DOWNLOAD, self._plan.result(what), self._now()).require()
        recipient = agreement.active_keys(partner)[0].public.key_id
        if (content, recipient) not in self._own.standing.handed_over:
            self._say(Exporting(what=what, content=content, recipient=recipient))

    def handing_over(self, content: str, recipient: LedgerCopy, agreement: Agreement) -> None:
        """A partner gets the shared trunk; on our copy and on its own before it leaves, on the others' by `settle`.

        Raises:
            RefusedError: The agreement does not allow it.
            PharmoniaError: Its copy cannot be reached, or is not the beginning of ours.
        """
        what = ResourceKind.SHARED_TRUNK
        decide(agreement, {}, recipient.partner, Action.DOWNLOAD, self._plan.result(what), self._now()).require()
        key = recipient.public.key_id
        if (content, key) not in self._own.standing.handed_over:
            self._append(self._own.state([Exporting(what=what, content=content, recipient=key)], self._now()))
        recipient.catch_up(self._own)

    @property
    def absent(self) -> frozenset[str]:
        """Partners whose copies could not be reached, so that no round is on them."""
        return frozenset(copy.partner for copy in self._others.all if copy not in self._others.present)

    def reach(self, copy: LedgerCopy) -> None:
        """Bring one copy up to ours.

        Raises:
            PharmoniaError: It cannot be reached, or is not the beginning of ours.
        """
        copy.catch_up(self._own)

    def declined(self, refusal: Refusal) -> None:
        """What a partner states who refuses, or takes no model; on the others' copies by `settle`.

        Raises:
            LedgerError: It states it in a stranger's name or at a wrong time.
        """
        self._require_refusal(refusal)
        self._append(refusal.entry)

    def _require_refusal(self, refusal: Refusal) -> None:
        """Of one, others may have kept us waiting for long; the ledger's last entry came before it was asked for."""
        key, now = refusal.entry.key, self._now()
        partner = next((name for name, one in self._keys.items() if one == key), None)
        try:
            since = self._own.standing.latest or now
            require_own(refusal.entry, partner or "a stranger", partner and key, since, now)
        except LedgerError as error:
            raise LedgerError(f"{error}; it says: {refusal.reason}") from error

    def _append(self, entry: Entry) -> None:
        self._own.take([entry])

    def checkpoint(self) -> None:
        """A checkpoint of all entries, cosigned by every partner that is there, in every copy that is.

        Where so few are there that it would not hold, it is left to a later one.
        """
        if self._holds(self._others):
            self._seal(self._others)

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Whatever ends a run is on the ledger, under a checkpoint of all who are there, before the error goes on.

        An error that our ledger has no room for goes on as well, and says so in a note.
        """
        try:
            yield
            self.checkpoint()
        except RefusedError:
            self.settle()
            raise
        except BaseException as error:
            failed = Failed(plan=self._plan.digest, code=_failure(error))
            try:
                self._append(self._own.state([failed], self._now()))
            except PharmoniaError as unwritten:
                error.add_note(f"the ledger does not say that the run ended: {unwritten}")
            self.settle()
            raise

    def settle(self) -> None:
        """Bring every copy that can be reached up to ours, under a checkpoint if enough are there to sign it.

        Who is away catches up when the next run begins.
        """
        everyone = self._others.all
        is_there = of_each(everyone, self._reaches)
        present = [other for other, reached in zip(everyone, is_there, strict=True) if reached]
        if self._is_enough(present):
            with suppress(PharmoniaError):  # nothing hides what ended the run; the next one begins with a checkpoint
                self._seal(Copies(present, goes_on=False))

    def _holds(self, others: Copies) -> bool:
        return len(others.present) == len(others.all) or self._is_enough(others.present)

    def _is_enough(self, present: Sequence[LedgerCopy]) -> bool:
        signers = {self._own.partner, *(other.partner for other in present)}
        return len(signers) >= self._versions[-1].terms.thresholds.checkpoint

    def _reaches(self, other: LedgerCopy) -> bool:
        try:
            other.catch_up(self._own)
        except PharmoniaError:
            return False
        return True

    def _seal(self, others: Copies) -> None:
        if self._own.is_covered:
            return
        offered = self._own.propose(self._now())
        signed = offered.merged(others.each(lambda other: other.cosign(offered, self._own.public)))
        if self._holds(others):  # still: who is lost now has not signed
            self._own.keep(signed)
            others.each(lambda other: other.keep(signed))

    def require_recorded(self, aggregates: Sequence[str]) -> None:
        """Refuse rounds that were run without the plan or under another.

        Raises:
            StoreError: One of these digests of models is not on the ledger under this plan.
        """
        missing = set(aggregates) - self._own.standing.aggregates.get(self._plan.digest, set())
        if missing:
            raise StoreError(
                f"{len(missing)} rounds in the output folder are not on the ledger under {self._plan.label}: they were "
                f"run without it; give another --out"
            )

    def root_after_training(self) -> str:
        """Root of the ledger as it was after the plan's last round, 64 hexadecimal digits; the same ever after.

        Raises:
            LedgerError: No round of the plan is on it.
        """
        size = self._own.standing.trained.get(self._plan.digest)
        if size is None:
            raise LedgerError(f"no round of {self._plan.label} is on the ledger; run it first")
        return self._own.root_at(size)

    def _say(self, event: Event) -> None:
        self._record(self._own.state([event], self._now()))

    def _record(self, entry: Entry) -> None:
        self._own.take([entry])
        self._others.each(lambda other: other.take([entry]))


_FAILURES: tuple[tuple[tuple[type[BaseException], ...], FailureCode], ...] = (  # the first that fits
    ((RoundLostError,), FailureCode.ROUND_LOST),
    ((HeaderError, RosterError), FailureCode.HEADER_REFUSED),
    ((UpdateError,), FailureCode.DIVERGED),
    ((EvidenceError,), FailureCode.MESSAGE_DAMAGED),
    ((RegroupError,), FailureCode.PARTNER_BACK),
    ((UnreachableError,), FailureCode.PARTNER_LOST),
    ((EngineError,), FailureCode.ENGINE_STOPPED),
    ((MemoryError,), FailureCode.OUT_OF_MEMORY),
    ((DiskFullError,), FailureCode.STORAGE_FULL),
)


def _failure(error: BaseException) -> FailureCode:
    """The code of what ended a run; of what has none, such as damaged data or a busy ledger, `interrupted`."""
    told = cannot_write(Path(), error) if isinstance(error, OSError) else error
    return next((code for kinds, code in _FAILURES if isinstance(told, kinds)), FailureCode.INTERRUPTED)
