"""A simulated consortium at work: everybody's keys, papers and copies of the ledger, opened for one run."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pharmonia.base.errors import AgreementError, RefusedError
from pharmonia.bench.arms import SharedOut
from pharmonia.bench.planned import partner_digest, require_planned
from pharmonia.bench.settings import ComparisonSettings
from pharmonia.governance.agreement import Agreement
from pharmonia.governance.agreement_history import AgreementHistory
from pharmonia.governance.identity import PrivateKey
from pharmonia.governance.plan import RunPlan, SignedPlan
from pharmonia.run.chronicle import Chronicle
from pharmonia.run.codedigest import installed_code
from pharmonia.run.documents import read_agreement, read_plan
from pharmonia.run.keyfiles import read_commitment_key, read_key
from pharmonia.run.mandate import Mandate
from pharmonia.run.permit import Papers, Permit
from pharmonia.run.refusals import decode_refusal
from pharmonia.run.witness import Witness, open_witness


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """One data owner of the run.

    Args:
        partner: Its id.
        key: What it signs with.
        permit: Its leave to take part, asked before every frame.
    """

    partner: str
    key: PrivateKey = field(repr=False)
    permit: Permit


@dataclass(frozen=True, slots=True, kw_only=True)
class Charter:
    """A plan, the partners that it binds, and the ledger that they keep.

    Args:
        plan: The plan.
        agreement: In force.
        seats: The data owners, in the order of the shares of the data.
        chronicle: The coordinator's record.
    """

    plan: RunPlan
    agreement: Agreement
    seats: tuple[Seat, ...]
    chronicle: Chronicle

    def require_leave(self) -> None:
        """Ask every data owner before a result is handed over; its model is masked sums, if the plan asks for those.

        Raises:
            RefusedError: One has taken its leave back; the ledger says so.
        """
        masks = self.plan.requires_secure_sums
        frames = [seat.permit.refusal(masks=masks) for seat in self.seats]
        refusals = [decode_refusal(frame) for frame in frames if frame is not None]
        if refusals:
            self.chronicle.refused(refusals)
            self.chronicle.checkpoint()
            raise RefusedError("; ".join(refusal.reason for refusal in refusals))


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """The papers of a mandate, read and held against the command.

    Args:
        plan: With its approvals, which each party judges for itself.
        history: The agreement, all its versions.
        agreement: The version in force.
    """

    plan: SignedPlan
    history: AgreementHistory
    agreement: Agreement


def clock() -> datetime:
    """The time now."""
    return datetime.now(UTC)


def read_papers(mandate: Mandate, settings: ComparisonSettings, now: datetime) -> Signed:
    """Plan and agreement, if this command is the one that the plan describes.

    Raises:
        InputError: A file cannot be read, or the command differs from the plan; names the field.
        DocumentError: A file is not what was written.
        AgreementError: No version is in force, or the plan is of another consortium.
        RefusedError: The plan asks for secure sums and the command for plain ones.
    """
    history = read_agreement(mandate.agreement)
    agreement, signed = history.current(now), read_plan(mandate.plan)
    plan = signed.plan
    if plan.consortium != agreement.terms.consortium:
        raise AgreementError(
            f"{mandate.plan}: {plan.label} is of the consortium {plan.consortium}, not of "
            f"{agreement.terms.consortium}; give the agreement that it was written under"
        )
    require_planned(settings, plan)
    return Signed(plan=signed, history=history, agreement=agreement)


def opened_key(mandate: Mandate, agreement: Agreement, partner: str) -> PrivateKey:
    """A partner's key, which must be active.

    Raises:
        KeyFileError: It cannot be read.
        AgreementError: The agreement has it as another's, as retired or not at all.
    """
    path = mandate.key_file(partner)
    key = read_key(path, None)
    owner = agreement.key(key.public.key_id).partner
    if owner != partner:
        raise AgreementError(f"{path} is a key of {owner}; put the key of {partner} there")
    return key


@contextmanager
def charter_of(
    mandate: Mandate, settings: ComparisonSettings, shared: SharedOut, now: Callable[[], datetime]
) -> Iterator[Charter]:
    """The consortium of a mandate at work, with every copy of the ledger open.

    Raises:
        PharmoniaError: As `read_papers` and `opened_key`; a copy of the ledger is damaged, ahead or busy.
    """
    papers = read_papers(mandate, settings, now())
    plan = papers.plan.plan
    code = installed_code()
    with ExitStack() as stack:
        witnesses: dict[str, Witness] = {}
        keys = {name: opened_key(mandate, papers.agreement, name) for name in {*plan.partners, plan.coordinator}}
        for name in sorted(keys):
            opening = open_witness(name, keys[name], papers.history, mandate.copy_of(name))
            witnesses[name] = stack.enter_context(opening)
        own = witnesses[plan.coordinator]
        others = [witness for name, witness in witnesses.items() if name != plan.coordinator]
        chronicle = Chronicle(plan, papers.history.accepted(), own, others, now)
        seats = []
        for index, name in enumerate(plan.partners):
            commitment = read_commitment_key(mandate.commitment_file(name)).commit(
                plan.consortium, partner_digest(shared, index)
            )
            files = Papers(agreement=mandate.agreement, policy=mandate.policy_file(name))
            permit = Permit(papers.plan, files, commitment, code, witnesses[name], now)
            seats.append(Seat(partner=name, key=keys[name], permit=permit))
        yield Charter(plan=plan, agreement=papers.agreement, seats=tuple(seats), chronicle=chronicle)


def commitments(folder: Path, agreement: Agreement, shared: SharedOut) -> dict[str, str]:
    """Each data owner's commitment to its share of the data, in the order of their ids.

    Args:
        folder: Holds a folder for each partner, as a mandate's keys.
        agreement: Whose data owners take part.
        shared: The data, shared out between as many.

    Raises:
        KeyFileError: A secret cannot be read.
    """
    places = Mandate(plan=folder, agreement=folder, ledger=folder, keys=folder)
    return {
        name: read_commitment_key(places.commitment_file(name)).commit(
            agreement.terms.consortium, partner_digest(shared, index)
        )
        for index, name in enumerate(agreement.terms.data_owners)
    }
