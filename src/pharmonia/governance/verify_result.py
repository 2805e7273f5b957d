"""What a verification says: a numbered list of checks, what they found, and a verdict."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from pharmonia.base.canonical import Json
from pharmonia.base.errors import (
    DeliveredModelError,
    LedgerApprovalError,
    LedgerFormError,
    LedgerOrderError,
    LedgerPermissionError,
    LedgerSignatureError,
    LedgerThresholdError,
    LedgerTreeError,
    ReportedFigureError,
    VerificationError,
)

MAX_FINDINGS = 100  # kept word for word; the rest is counted


class Family(StrEnum):
    """What kind of trust a check is about; the first that fails owns the exit code."""

    FORM = "form"
    SIGNATURES = "signatures"
    ORDER = "order"
    TREE = "tree"
    THRESHOLDS = "thresholds"
    APPROVALS = "approvals"
    PERMISSIONS = "permissions"
    MODEL = "model"
    REPORT = "report"

    @property
    def error(self) -> type[VerificationError]:
        """What is raised when it is the first to fail."""
        return _ERRORS[self]


_ERRORS: Mapping[Family, type[VerificationError]] = {
    Family.FORM: LedgerFormError,
    Family.SIGNATURES: LedgerSignatureError,
    Family.ORDER: LedgerOrderError,
    Family.TREE: LedgerTreeError,
    Family.THRESHOLDS: LedgerThresholdError,
    Family.APPROVALS: LedgerApprovalError,
    Family.PERMISSIONS: LedgerPermissionError,
    Family.MODEL: DeliveredModelError,
    Family.REPORT: ReportedFigureError,
}


class Check(StrEnum):
    """What is checked, in the order in which it is reported; the value is the claim."""

    LINES = "every line is one entry, or one checkpoint, of this ledger in canonical form"
    SIGNED = "every entry is signed by a key that was active when it was entered"
    COUNTED = "every author's entries are all there, once and in order"
    TIMED = "no time runs backwards or ahead of the clock"
    SEQUENCE = "agreement versions, plans, rounds and aggregates follow each other"
    ROOTS = "the entries hash to the root of every checkpoint"
    COVERED = "the last checkpoint covers every entry"
    CROSS_SIGNED = "every checkpoint is signed by the coordinator and by enough partners"
    AGREED = "every agreement version named is the one that the partners signed"
    APPROVED = "every round's plan stood approved by enough data owners and by each contributor"
    COHORT = "every round had enough contributors, all of them data owners"
    PLANNED = "every round kept to its plan, of the plans given"
    ROLES = "everybody did only what its role allows"
    EXPORTS = "every export was allowed by the agreement in force"
    MODEL = "the model is one that was handed over"
    REPORT = "the report is one that was recorded, with the same figures"

    @property
    def family(self) -> Family:
        """What kind of trust it is about."""
        return _FAMILIES[self]

    @property
    def number(self) -> int:
        """From 1."""
        return list(Check).index(self) + 1


_FAMILIES: Mapping[Check, Family] = {
    Check.LINES: Family.FORM,
    Check.SIGNED: Family.SIGNATURES,
    Check.COUNTED: Family.ORDER,
    Check.TIMED: Family.ORDER,
    Check.SEQUENCE: Family.ORDER,
    Check.ROOTS: Family.TREE,
    Check.COVERED: Family.TREE,
    Check.CROSS_SIGNED: Family.THRESHOLDS,
    Check.AGREED: Family.THRESHOLDS,
    Check.APPROVED: Family.APPROVALS,
    Check.COHORT: Family.APPROVALS,
    Check.PLANNED: Family.APPROVALS,
    Check.ROLES: Family.PERMISSIONS,
    Check.EXPORTS: Family.PERMISSIONS,
    Check.MODEL: Family.MODEL,
    Check.REPORT: Family.REPORT,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong."""

    check: Check
    where: str  # such as "entry 17", counted from 0, or "checkpoint of 20"
    what: str

    def __str__(self) -> str:
        return f"{self.check.number}. {self.where}: {self.what}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How often a check was made, and how often it failed; never, if nothing asked for it."""

    check: Check
    n_checked: int
    n_failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationResult:
    """What was checked and found.

    Args:
        ledger: The consortium's id.
        n_entries: In the ledger.
        n_events: In all entries that could be read.
        root: Of the tree of all entries, 64 hexadecimal digits.
        tallies: One per check, in order.
        findings: The first 100.
    """

    ledger: str
    n_entries: int
    n_events: int
    root: str
    tallies: tuple[Tally, ...]
    findings: tuple[Finding, ...]

    @property
    def n_findings(self) -> int:
        """All of them, those too that are only counted."""
        return sum(tally.n_failed for tally in self.tallies)

    @property
    def failed(self) -> tuple[Family, ...]:
        """The families that failed, in order."""
        found = {tally.check.family for tally in self.tallies if tally.n_failed}
        return tuple(family for family in Family if family in found)

    def require(self) -> None:
        """Nothing, if all checks hold.

        Raises:
            VerificationError: Of the first family that failed; says how many findings there are, and the first few.
        """
        if not self.failed:
            return
        first = "; ".join(str(finding) for finding in self.findings[:3])
        names = ", ".join(self.failed)
        raise self.failed[0].error(f"{self.n_findings} findings about {names}: {first}")

    def summary(self) -> str:
        """The numbered list of checks, the findings and the verdict, for people."""
        lines = [f"Ledger {self.ledger}", f"{self.n_entries:,} entries, {self.n_events:,} events, root {self.root}", ""]
        for tally in self.tallies:
            state = "failed" if tally.n_failed else "held" if tally.n_checked else "not asked"
            counts = f"{tally.n_failed:,} of {tally.n_checked:,}" if tally.n_failed else f"{tally.n_checked:,}"
            lines.append(f"{tally.check.number:>2}. [{state}] {tally.check.family}: {tally.check.value} ({counts})")
        if self.findings:
            left = self.n_findings - len(self.findings)
            lines += ["", "Findings", *map(str, self.findings), *([f"and {left:,} more"] if left else [])]
        verdict = f"NOT VERIFIED: {', '.join(self.failed)}" if self.failed else "VERIFIED"
        return "\n".join([*lines, "", verdict])

    def as_json(self) -> dict[str, Json]:
        """The same for machines; keys are stable."""
        return {
            "schema": "pharmonia/verification",
            "schema_version": 1,
            "verified": not self.failed,
            "failed": [family.value for family in self.failed],
            "ledger": self.ledger,
            "n_entries": self.n_entries,
            "n_events": self.n_events,
            "root": self.root,
            "checks": [
                {
                    "number": tally.check.number,
                    "name": tally.check.name.lower(),
                    "family": tally.check.family.value,
                    "claim": tally.check.value,
                    "n_checked": tally.n_checked,
                    "n_failed": tally.n_failed,
                }
                for tally in self.tallies
            ],
            "n_findings": self.n_findings,
            "findings": [
                {"check": finding.check.number, "where": finding.where, "what": finding.what}
                for finding in self.findings
            ],
        }


class Findings:
    """Collects what a pass finds; keeps the first findings and counts all."""

    def __init__(self) -> None:
        self.kept: list[Finding] = []
        self._n_checked = dict.fromkeys(Check, 0)
        self._n_failed = dict.fromkeys(Check, 0)

    def count(self, check: Check, n: int = 1) -> None:
        """A check was made n times."""
        self._n_checked[check] += n

    def add(self, check: Check, where: str, what: str) -> None:
        """A check failed."""
        self._n_failed[check] += 1
        if len(self.kept) < MAX_FINDINGS:
            self.kept.append(Finding(check=check, where=where, what=what))

    def tallies(self) -> tuple[Tally, ...]:
        """One per check, in order."""
        return tuple(
            Tally(check=check, n_checked=self._n_checked[check], n_failed=self._n_failed[check]) for check in Check
        )
