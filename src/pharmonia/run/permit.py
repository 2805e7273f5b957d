"""Whether a party may go on, asked before it answers any frame: its own copy of the agreement, policy and code.

Papers are read anew for every answer, so that what a partner revokes counts from the next one on.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pharmonia.base.errors import AgreementError, DocumentError, InputError, TermsError
from pharmonia.governance.agreement import Agreement
from pharmonia.governance.agreement_history import AgreementHistory, decode_history
from pharmonia.governance.documents import whole_second
from pharmonia.governance.events import Event, PlanApproved, PlanRefused, PolicyChanged, Revocable, Revoked
from pharmonia.governance.ledger import Entry
from pharmonia.governance.plan import RunPlan, SignedPlan
from pharmonia.governance.plan_check import check_plan
from pharmonia.governance.policy import LocalPolicy, SignedPolicy, decode_policy, newer
from pharmonia.governance.terms import Allowed, CodeIdentity, Decision, RefusalCode, Refused
from pharmonia.run.documents import agreement_file, read_document
from pharmonia.run.refusals import MAX_REASON, Refusal, encode_refusal
from pharmonia.run.witness import Witness

_TAKEN_BACK = frozenset({RefusalCode.GRANT_REVOKED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Papers:
    """A partner's own copies, read anew before every answer.

    Args:
        agreement: A file or a consortium's folder.
        policy: The partner's own policy.
    """

    agreement: Path
    policy: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class _Contents:
    """What the papers say at one look, so that a decision is about the bytes that it was made from."""

    agreement: bytes
    policy: bytes


class Permit:
    """One data owner's leave to take part in a plan.

    Guarantees:
        a_revocation_counts_from_the_next_frame_on: Papers are read anew; a second's decision holds for that second.
        nothing_is_touched_without_leave: The party asks before it reads a frame.
        an_older_paper_is_refused: A policy or agreement once seen is not replaced by one from before it.
    """

    def __init__(
        self,
        signed: SignedPlan,
        papers: Papers,
        commitment: str,
        code: CodeIdentity,
        witness: Witness,
        now: Callable[[], datetime],
    ) -> None:
        """Commitment: to the data set that is loaded here; code: that runs here."""
        self._signed = signed
        self._papers = papers
        self._commitment = commitment
        self._code = code
        self._witness = witness
        self._now = now
        self._history: AgreementHistory | None = None
        self._policy: SignedPolicy | None = None
        self._last: tuple[_Contents, datetime, bool, Decision] | None = None

    @property
    def witness(self) -> Witness:
        """Our copy of the ledger."""
        return self._witness

    @property
    def min_cohort(self) -> int:
        """Partners among whom we contribute at least, by our policy; it is no lower than the agreement's."""
        return len(self._signed.plan.partners) if self._policy is None else self._policy.policy.min_cohort

    def opening(self) -> Entry | None:
        """What we state before a run, unless the ledger says so: our approval, if it stands, and our policy."""
        plan, key_id, standing = self._signed.plan, self._witness.public.key_id, self._witness.standing
        events: list[Event] = []
        now = whole_second(self._now())
        try:
            contents = self._contents()
            agreement = self._agreement(contents, now)
            policy = self._own_policy(contents, agreement, now)
            approved = self._signed.approved_by(agreement, now)
        except (InputError, DocumentError, AgreementError):
            return None  # the refusal that comes with the first frame says why
        stands = self._witness.partner in approved and isinstance(self.check(masks=True), Allowed)
        if stands and (key_id, plan.digest) not in standing.approvals:
            events.append(PlanApproved(plan=plan.digest))
        if standing.policies.get(key_id) != policy.digest:
            events.append(PolicyChanged(policy=policy.digest))
        return self._witness.state(events, now) if events else None

    def refusal(self, *, masks: bool) -> bytes | None:
        """The frame with which to refuse whatever was asked; None if we may answer.

        Args:
            masks: Whether what leaves this party is masked.
        """
        decision = self.check(masks=masks)
        if isinstance(decision, Allowed):
            return None
        reason = " ".join(f"{self._witness.partner} refuses: {decision}".split())[:MAX_REASON]
        entry = self._witness.state(self._statement(decision), self._now())
        return encode_refusal(Refusal(entry=entry, reason=reason))

    def check(self, *, masks: bool) -> Decision:
        """Whether we may take part now, under the papers as they lie there."""
        now = whole_second(self._now())
        try:
            contents = self._contents()
        except InputError as error:
            return self._refused(RefusalCode.NOT_GRANTED, str(error), "put the file back")
        if self._last is None or self._last[:3] != (contents, now, masks):
            self._last = (contents, now, masks, self._decide(contents, now, masks=masks))
        return self._last[3]

    def _contents(self) -> _Contents:
        papers = self._papers
        return _Contents(agreement=_read(agreement_file(papers.agreement)), policy=_read(papers.policy))

    def _decide(self, contents: _Contents, now: datetime, *, masks: bool) -> Decision:
        try:
            agreement = self._agreement(contents, now)
        except (DocumentError, TermsError, InputError) as error:
            return self._refused(RefusalCode.OTHER_AGREEMENT, str(error), "restore your copy of the agreement")
        except AgreementError as error:
            return self._refused(RefusalCode.AGREEMENT_ENDED, str(error), "amend it to go on")
        try:
            policy = self._own_policy(contents, agreement, now)
        except (DocumentError, TermsError, AgreementError, InputError) as error:
            return self._refused(RefusalCode.NOT_GRANTED, str(error), "sign your policy anew")
        decision = check_plan(self._signed, agreement, policy, self._code, now)
        return self._as_loaded(masks=masks) or decision if isinstance(decision, Allowed) else decision

    def _as_loaded(self, *, masks: bool) -> Refused | None:
        """What forbids this party, as it was set up here, to do what the plan allows."""
        plan = self._signed.plan
        if plan.requires_secure_sums and not masks:
            reason = "it asks for secure aggregation, but here contributions would leave in the clear"
            return self._refused(RefusalCode.PLAIN_AGGREGATION, reason, "run with secure aggregation")
        if (self._witness.partner, self._commitment) not in {(one.partner, one.commitment) for one in plan.datasets}:
            reason = f"the data set loaded here has the commitment {self._commitment[:16]}, which it does not name"
            return self._refused(RefusalCode.DATASET, reason, "load the data set that was approved")
        return None

    def _refused(self, code: RefusalCode, reason: str, remedy: str) -> Refused:
        plan = self._signed.plan
        return Refused(code=code, document=plan.label, version=plan.version, reason=reason, remedy=remedy)

    def _agreement(self, contents: _Contents, now: datetime) -> Agreement:
        history = decode_history(contents.agreement, agreement_file(self._papers.agreement).name)
        if self._history is not None:
            history.require_extends(self._history)
        self._history = history
        return history.current(now)

    def _own_policy(self, contents: _Contents, agreement: Agreement, now: datetime) -> LocalPolicy:
        path = self._papers.policy
        signed = decode_policy(contents.policy, path.name)
        policy = signed.verified(agreement, now)
        if policy.partner != self._witness.partner:
            raise DocumentError(f"{path.name} is the {policy.name}, not of {self._witness.partner}; put yours there")
        if self._policy is not None:
            newer(self._policy.policy, policy)
        self._policy = signed
        return policy

    def _statement(self, refused: Refused) -> list[Event]:
        """The refusal, after the policy that it comes from and what that takes back."""
        plan: RunPlan = self._signed.plan
        events: list[Event] = []
        key_id, standing = self._witness.public.key_id, self._witness.standing
        if self._policy is not None and standing.policies.get(key_id) != self._policy.policy.digest:
            events.append(PolicyChanged(policy=self._policy.policy.digest))
        if refused.code in _TAKEN_BACK and (key_id, plan.digest) in standing.approvals:
            own = [one.commitment for one in plan.datasets if one.partner == self._witness.partner]
            events += [Revoked(what=Revocable.DATASET, subject=commitment) for commitment in own]
        return [*events, PlanRefused(plan=plan.digest, code=refused.code)]


def _read(path: Path) -> bytes:
    """A paper's bytes; what is wrong with it may reach the coordinator, and tells no folder of ours.

    Raises:
        InputError: As `read_document`, by the file's name alone.
    """
    try:
        return read_document(path)
    except InputError as error:
        raise InputError(str(error).replace(str(path), path.name)) from error
