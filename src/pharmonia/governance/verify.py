"""Verification of a ledger: one pass, offline, in memory that does not grow with the ledger."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain

from pharmonia.base.errors import LedgerError
from pharmonia.governance.agreement import Agreement
from pharmonia.governance.checkpoint import SignedCheckpoint, decode_checkpoint
from pharmonia.governance.documents_signed import CLOCK_SKEW
from pharmonia.governance.events import Evaluated, Event, Exporting, RecordedFigure
from pharmonia.governance.ledger import Entry, decode_entry
from pharmonia.governance.merkle import Frontier, leaf_hash
from pharmonia.governance.plan import RunPlan
from pharmonia.governance.terms import ResourceKind, Role
from pharmonia.governance.verify_report import figures_of
from pharmonia.governance.verify_result import Check, Findings, VerificationResult
from pharmonia.governance.verify_rules import Rules
from pharmonia.governance.verify_versions import Versions, unsigned

MAX_CHECKPOINTS = 100_000  # held in memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """What an auditor holds in its hands besides the ledger.

    Args:
        model_digest: SHA-256 of the file of the delivered model; None if none is to be checked.
        report: The bytes of the report's results.json; None if none is to be checked.
        checkpoints: That partners kept, so that a ledger cut short, or another history, is found out.
        plans: Whose rounds are to be held against them.
    """

    model_digest: str | None = None
    report: bytes | None = None
    checkpoints: tuple[SignedCheckpoint, ...] = ()
    plans: tuple[RunPlan, ...] = ()


def verify_ledger(
    lines: Iterable[bytes],
    checkpoint_lines: Iterable[bytes],
    versions: Sequence[Agreement],
    delivered: Delivered,
    now: datetime,
) -> VerificationResult:
    """What was checked and found; nothing a ledger holds makes it raise.

    Args:
        lines: Of the ledger, with their ends; read once.
        checkpoint_lines: Of its checkpoints, with their ends.
        versions: All accepted versions of the agreement, oldest first, as `AgreementHistory` checked them.
        delivered: What else is to be checked.
        now: Against which times are held.

    Raises:
        AgreementError: No version is accepted.
        InputError: The report is not the results of a comparison.
    """
    one_pass = _Pass(Versions(versions), delivered, now)
    one_pass.take_checkpoints(checkpoint_lines)
    for line in lines:
        one_pass.take(line)
    return one_pass.finish()


class _Pass:
    """The state of one pass."""

    def __init__(self, versions: Versions, delivered: Delivered, now: datetime) -> None:
        self.versions = versions
        self.ledger = versions.all[0].agreement.digest
        self.findings = Findings()
        documents = {plan.digest: plan for plan in delivered.plans}
        self.rules = Rules(versions=versions.all, documents=documents, now=now, findings=self.findings)
        self.tree = Frontier()
        self.delivered = delivered
        self.report_digest = None if delivered.report is None else hashlib.sha256(delivered.report).hexdigest()
        self.report_figures = () if delivered.report is None else figures_of(delivered.report)
        self.n_by_key: dict[str, int] = {}
        self.n_events = 0
        self.pending: list[tuple[SignedCheckpoint, bool]] = []  # largest first; whether it is the ledger's own
        self.largest_own = 0
        self.was_handed_over = False
        self.wrongly_handed_over: list[str] = []  # the first few places, and what is wrong with them
        self.recorded: tuple[RecordedFigure, ...] | None = None

    def take_checkpoints(self, lines: Iterable[bytes]) -> None:
        own = list[SignedCheckpoint]()
        for number, line in enumerate(lines, 1):
            self.findings.count(Check.LINES)
            if number > MAX_CHECKPOINTS:
                self.findings.add(Check.LINES, "the checkpoints", f"are more than {MAX_CHECKPOINTS:,}")
                break
            try:
                own.append(decode_checkpoint(_without_end(line)))
            except LedgerError as error:
                self.findings.add(Check.LINES, f"line {number} of the checkpoints", str(error))
        sizes = [one.checkpoint.size for one in own]
        previous: str | None = None
        latest: datetime | None = None
        for one in own:
            self.findings.count(Check.SEQUENCE)
            if one.checkpoint.previous != previous:
                what = "does not name the one before it: one is missing, repeated or moved"
                self.findings.add(Check.SEQUENCE, f"checkpoint of {one.checkpoint.size}", what)
            previous = one.checkpoint.digest
            latest = max(latest or one.checkpoint.at, one.checkpoint.at)
            self._check_not_before(one.checkpoint.at, latest, f"checkpoint of {one.checkpoint.size}", "a checkpoint")
        if sizes != sorted(sizes):
            self.findings.add(Check.SEQUENCE, "the checkpoints", "are not in the order of their sizes")
        self.largest_own = max(sizes, default=0)
        held = self.delivered.checkpoints
        both = chain(((one, True) for one in own), ((one, False) for one in held))
        self.pending = sorted(both, key=lambda pair: -pair[0].checkpoint.size)

    def take(self, line: bytes) -> None:
        where = f"entry {self.tree.size}"
        self.findings.count(Check.LINES)
        self.tree, _ = self.tree.append(leaf_hash(line.removesuffix(b"\n")))
        try:
            entry = decode_entry(_without_end(line))
            if entry.ledger != self.ledger:
                raise LedgerError(f"it is of the ledger {entry.ledger}, not of {self.ledger}")
        except LedgerError as error:
            self.findings.add(Check.LINES, where, str(error))
        else:
            self._take_entry(entry, where)
        while self.pending and self.pending[-1][0].checkpoint.size <= self.tree.size:
            self._take_checkpoint(*self.pending.pop())

    def _take_entry(self, entry: Entry, where: str) -> None:
        self.n_events += len(entry.events)
        self.findings.count(Check.SIGNED)
        version = self.versions.judging(entry.events, self.rules.n_adopted)
        reason = unsigned(entry, version)
        if reason:
            self.findings.add(Check.SIGNED, where, reason)
            return
        self._count(entry, where)
        self.rules.check_time(entry.at, where)
        author = version.owners[entry.key]
        self.rules.judging = version
        for event in entry.events:
            self.rules.apply(event, author, entry.at, where)
            self._note(event, author, where)

    def _count(self, entry: Entry, where: str) -> None:
        self.findings.count(Check.COUNTED)
        expected = self.n_by_key.get(entry.key, 0)
        if entry.number != expected:
            what = f"number {entry.number} of {entry.key}; {expected} is next: entries are missing, repeated or moved"
            self.findings.add(Check.COUNTED, where, what)
        self.n_by_key[entry.key] = entry.number + 1

    def _note(self, event: Event, author: str, where: str) -> None:
        """Take account of what the auditor asked about."""
        if isinstance(event, Exporting) and event.what is ResourceKind.SHARED_TRUNK:
            if event.content == self.delivered.model_digest:
                wrong = self.rules.why_not_handed_over(event, author)
                self.was_handed_over |= not wrong
                self.wrongly_handed_over += [f"{where}: {wrong}"] if wrong and len(self.wrongly_handed_over) < 3 else []
        elif isinstance(event, Evaluated) and event.results == self.report_digest:
            self.recorded = event.figures
            if event.figures != self.report_figures:
                what = f"records {_text(event.figures)} for the report, which says {_text(self.report_figures)}"
                self.findings.add(Check.REPORT, where, what)

    def _take_checkpoint(self, signed: SignedCheckpoint, is_own: bool) -> None:
        checkpoint = signed.checkpoint
        where = f"checkpoint of {checkpoint.size}{'' if is_own else ' that a partner kept'}"
        self.findings.count(Check.ROOTS)
        if (checkpoint.ledger, checkpoint.root) != (self.ledger, self.tree.root.hex()):
            what = (
                f"states {checkpoint.ledger} and root {checkpoint.root}; the entries have root {self.tree.root.hex()}"
            )
            self.findings.add(Check.ROOTS, where, what)
        self.rules.check_not_ahead(checkpoint.at, where)
        if self.rules.latest is not None:
            self._check_not_before(checkpoint.at, self.rules.latest, where, "an entry")
        self._check_signers(signed, where, needs_all=is_own)

    def _check_not_before(self, at: datetime, latest: datetime, where: str, what: str) -> None:
        """A checkpoint comes after what it covers and the one before; clocks may differ by five minutes, no more."""
        if at < latest - CLOCK_SKEW:
            self.findings.add(Check.TIMED, where, f"states {at}, after {what} that states {latest}")

    def _check_signers(self, signed: SignedCheckpoint, where: str, *, needs_all: bool) -> None:
        self.findings.count(Check.CROSS_SIGNED)
        version = self.rules.version
        false = signed.false_signatures(version.keys)
        if false:
            self.findings.add(Check.CROSS_SIGNED, where, f"signatures that no active key made: {', '.join(false)}")
        at = signed.checkpoint.at
        made = [one.key for one in signed.signatures if one.key not in false]
        ended = [key for key in made if version.ends[key] < at]  # they count as little as if they had not signed
        aside = f", besides the keys {', '.join(ended)}, which had ended" if ended else ""
        signers = {version.owners[key] for key in made if key not in ended}
        if not any(Role.COORDINATOR in version.roles[signer] for signer in signers):
            self.findings.add(Check.CROSS_SIGNED, where, f"is not signed by the coordinator{aside}")
        threshold = version.agreement.terms.thresholds.checkpoint
        if needs_all and len(signers) < threshold:
            self.findings.add(Check.CROSS_SIGNED, where, f"{len(signers)} partners signed; {threshold} must{aside}")

    def finish(self) -> VerificationResult:
        self._check_coverage()
        self.rules.check_documents()
        if self.delivered.model_digest is not None:
            self.findings.count(Check.MODEL)
            if not self.was_handed_over:
                but = "".join(f"; {one}" for one in self.wrongly_handed_over)
                what = f"nobody recorded handing over the model {self.delivered.model_digest} who could{but}"
                self.findings.add(Check.MODEL, "the model", what)
        if self.report_digest is not None:
            self.findings.count(Check.REPORT)
            if self.recorded is None:
                self.findings.add(Check.REPORT, "the report", f"nobody recorded results {self.report_digest}")
        return VerificationResult(
            ledger=self.ledger,
            n_entries=self.tree.size,
            n_events=self.n_events,
            root=self.tree.root.hex(),
            tallies=self.findings.tallies(),
            findings=tuple(self.findings.kept),
        )

    def _check_coverage(self) -> None:
        self.findings.count(Check.COVERED)
        if self.rules.n_adopted == 0:
            self.findings.add(Check.AGREED, "the ledger", "no entry puts the agreement in force")
        for signed, is_own in self.pending:
            where = f"checkpoint of {signed.checkpoint.size}{'' if is_own else ' that a partner kept'}"
            what = f"the ledger has {self.tree.size} entries: it was cut short, or is another history"
            self.findings.add(Check.COVERED, where, what)
        n_left = self.tree.size - self.largest_own
        if n_left > 0:
            what = f"{n_left} entries follow on the last checkpoint; ask for a new one"
            self.findings.add(Check.COVERED, "the ledger", what)


def _without_end(line: bytes) -> bytes:
    if not line.endswith(b"\n"):
        raise LedgerError("a line has no end: it is half written, or the file was cut short")
    return line[:-1]


def _text(figures: tuple[RecordedFigure, ...]) -> str:
    return ", ".join(f"{one.name} {one.ten_thousandths / 10_000:.4f}" for one in figures) or "no figures"
