"""A partner's site: one folder of its own opened as a party that any engine can ask. Read `Site.handle` first.

Everything here is this partner's: key, copies of agreement and plan, policy, ledger, state and data. Nothing that the
coordinator sends chooses a file, a class or a setting.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from threading import Lock

import numpy as np

from pharmonia import __version__
from pharmonia.base.errors import (
    DataFileError,
    HeaderError,
    InputError,
    MessageError,
    PharmoniaError,
)
from pharmonia.governance.agreement import Agreement
from pharmonia.governance.agreement_history import AgreementHistory
from pharmonia.governance.documents import whole_second
from pharmonia.governance.events import PlanRefused
from pharmonia.governance.identity import PrivateKey, PublicKey
from pharmonia.governance.ledger import Entry
from pharmonia.governance.plan import SignedPlan
from pharmonia.governance.terms import CodeIdentity, RefusalCode
from pharmonia.learn.learner import Learner
from pharmonia.learn.local import LocalLearner
from pharmonia.learn.messages import MAGIC, Finish, Kind, decode, is_learning_frame
from pharmonia.learn.multitask import MultitaskLearner
from pharmonia.learn.multitask_data import partner_tasks
from pharmonia.learn.settings import Algorithm, LocalSettings
from pharmonia.run.arrayfile import read_arrays, write_private_arrays
from pharmonia.run.codedigest import installed_code
from pharmonia.run.confirmed import CONFIRMED_FILE, ConfirmedRounds
from pharmonia.run.delivered import DeliveredModel
from pharmonia.run.delivery_frames import Offer, is_delivery_frame
from pharmonia.run.delivery_frames import decode as decode_delivery
from pharmonia.run.documents import read_agreement, read_plan
from pharmonia.run.keyfiles import read_commitment_key
from pharmonia.run.ledger_frames import Greeting, Hello, encode, is_ledger_frame
from pharmonia.run.ledger_keeper import LedgerKeeper
from pharmonia.run.ownkey import own_key
from pharmonia.run.party import Party
from pharmonia.run.permit import Papers, Permit
from pharmonia.run.planned import tier_of, training_plan_of
from pharmonia.run.protection import Masked, SecureTerms
from pharmonia.run.recipient import PRIVATE_FILE, Recipient
from pharmonia.run.refusals import MAX_REASON, Refusal, encode_refusal
from pharmonia.run.site_config import DataKind, SiteConfig, read_site
from pharmonia.run.site_data import DataCard, describe_data, read_interactions, read_tasks
from pharmonia.run.site_scores import PartScore, site_scores, write_scores
from pharmonia.run.witness import Witness, open_witness
from pharmonia.secagg.header import RoundHeader
from pharmonia.secagg.keys import IdentityKey
from pharmonia.secagg.messages import SurvivorSet
from pharmonia.secagg.messages import decode as decode_secure
from pharmonia.secagg.roster import Member

_HELLO = encode(Hello())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Home:
    """What a site stands on, read once when it opens; the permit reads agreement and policy anew at every frame."""

    config: SiteConfig
    key: PrivateKey = field(repr=False)
    history: AgreementHistory
    signed: SignedPlan
    code: CodeIdentity
    card: DataCard
    now: Callable[[], datetime]

    @property
    def state(self) -> Path:
        """Where this partner keeps what it remembers of this plan."""
        return self.config.state_of(self.signed.plan.digest)


class Site:
    """One partner as an engine sees it; made by `open_site`.

    Guarantees:
        nothing_is_read_without_leave: Data files are opened after the permit's first yes, which every frame needs.
        no_round_is_off_the_ledger: A header is answered only if our own copy has it, of the same session, round and
            partners, under the plan that we hold.
        no_sum_is_said_to_be_of_others: As `ConfirmedRounds`: our copy takes no such entry.
        no_round_is_too_small: Nor if it, or what is left of it, has fewer partners than agreement or policy ask for.
        no_more_is_trained_than_planned: Rounds of the plan, and but for FedSGD one step in each.
        every_session_begins_from_the_disk: A party that was killed, or whose coordinator was, goes on bit for bit.
    """

    def __init__(self, home: _Home, witness: Witness, permit: Permit) -> None:
        self._home = home
        self._witness = witness
        self._permit = permit
        self._rounds = ConfirmedRounds(home.config.partner, _owners(home), home.state / CONFIRMED_FILE)
        self._keeper = LedgerKeeper(witness, _coordinators(home), self._opening, self._rounds.require_taken)
        self._recipient = Recipient(home.signed.plan, witness, home.state)
        self._party: Party | None = None
        self._one_at_a_time = Lock()  # an engine may bring a late frame beside the next one

    def handle(self, frame: bytes) -> bytes:
        """The answer to a coordinator's frame: a greeting, the ledger's, a refusal, a recipient's, or the party's.

        Raises:
            PharmoniaError: As `Party.handle`, `LedgerKeeper.answer` and `Recipient.answer`; data are damaged, or not
                what the plan trains.
        """
        if frame == _HELLO:
            return encode(self._greeting())
        with self._one_at_a_time:
            return self._keeper.answer(frame) if is_ledger_frame(frame) else self._answer(frame)

    def _answer(self, frame: bytes) -> bytes:
        refusal = self._permit.refusal(masks=True) or self._own_refusal(frame)
        if refusal is not None:
            return refusal
        if is_delivery_frame(frame):
            return self._receive(frame)
        if _is(frame, Kind.SESSION_REQUEST):
            decode(frame)  # no damaged frame ends the session that is open
            self._party = None  # room for the next
            self._party = _open_party(self._home, self._permit)
        if self._party is None:
            raise MessageError(f"{self._home.config.partner}: no session has begun since this site was started")
        answer = self._party.handle(frame)
        if not is_learning_frame(frame):
            self._rounds.note(decode_secure(frame))
        self._keep_private_part(frame, self._party)
        return answer

    def _greeting(self) -> Greeting:
        home = self._home
        accepted = home.history.accepted()
        newest = accepted[-1] if accepted else home.history.versions[0].agreement
        return Greeting(
            partner=home.config.partner,
            version=__version__,
            code=home.code,
            agreement_version=newest.version if accepted else 0,
            agreement=newest.digest,
            plan=home.signed.plan.digest,
            recipe=home.card.recipe,
            at=whole_second(home.now()),
        )

    def _opening(self) -> Entry | None:
        """What we state before a run of the plan that lies here; nothing, if the coordinator runs another."""
        is_ours = self._home.signed.plan.digest in self._witness.standing.plans
        return self._permit.opening() if is_ours and not self._strange_recipe() else None

    def _own_refusal(self, frame: bytes) -> bytes | None:
        """What forbids this site, besides its papers, to answer."""
        plan = self._home.signed.plan
        strange = self._strange_recipe()
        if strange:
            return self._refuse(plan.digest, RefusalCode.RECIPE, strange)
        if is_delivery_frame(frame):
            return self._unapproved() or self._not_for_us(frame)
        if is_learning_frame(frame):
            return self._unapproved() if _is(frame, Kind.SESSION_REQUEST) else None
        message = decode_secure(frame)
        match message:
            case RoundHeader():
                return self._too_few(message.contributors) or self._off_the_ledger(message)
            case SurvivorSet():
                return self._too_few(message.survivors)
            case _:
                return None

    def _off_the_ledger(self, message: RoundHeader) -> bytes | None:
        plan, opened = self._home.signed.plan, self._keeper.round
        if opened is None or opened.header != message.digest.hex():
            raise HeaderError(f"{self._home.config.partner}: a round that is not on our copy of the ledger")
        self._rounds.require_opened(message, opened)
        if opened.plan != plan.digest:
            reason = f"the round is of plan {opened.plan[:16]}, but {plan.label} with {plan.digest[:16]} lies here"
            return self._refuse(opened.plan, RefusalCode.PLAN_NOT_APPROVED, reason)
        return None

    def _too_few(self, partners: Sequence[str]) -> bytes | None:
        least = self._permit.min_cohort
        if len(partners) >= least:
            return None
        reason = f"{len(partners)} data owners are left in the round, fewer than {least}"
        return self._refuse(self._home.signed.plan.digest, RefusalCode.TOO_FEW_PARTNERS, reason)

    def _unapproved(self) -> bytes | None:
        plan = self._home.signed.plan
        if (self._witness.public.key_id, plan.digest) in self._witness.standing.approvals:
            return None
        reason = f"{plan.label} with {plan.digest[:16]} lies here, but the coordinator has not put it on the ledger"
        return self._refuse(plan.digest, RefusalCode.PLAN_NOT_APPROVED, reason)

    def _not_for_us(self, frame: bytes) -> bytes | None:
        why = self._recipient.refusal(decode_delivery(frame))
        return None if why is None else self._refuse(self._home.signed.plan.digest, *why)

    def _receive(self, frame: bytes) -> bytes:
        message = decode_delivery(frame)
        if isinstance(message, Offer):
            self._end_late(message)
        answer = self._recipient.answer(message)
        if isinstance(message, DeliveredModel):
            self._party = None  # its run has ended; scoring needs the room
            _score(self._home, message)
        return answer

    def _end_late(self, offer: Offer) -> None:
        """Where a run of our ledger went on and ended without us, keep the private part that we have."""
        plan, path = self._home.signed.plan, self._home.state / PRIVATE_FILE
        is_ours = offer.aggregate in self._witness.standing.aggregates.get(plan.digest, set())
        if is_ours and plan.goes_on and not path.exists():
            part = _open_party(self._home, self._permit).private_part_of(offer.best_round)
            write_private_arrays(path, {"private": part}, {"best_round": offer.best_round})

    def _strange_recipe(self) -> str:
        named, ours = self._home.signed.plan.recipe, self._home.card.recipe
        if named == ours:
            return ""
        return f"the plan names the recipe {named[:16]}, but the data here were prepared under {ours[:16]}"

    def _refuse(self, plan: str, code: RefusalCode, reason: str) -> bytes:
        entry = self._witness.state([PlanRefused(plan=plan, code=code)], self._home.now())
        return encode_refusal(
            Refusal(entry=entry, reason=f"{self._home.config.partner} refuses: {reason}"[:MAX_REASON])
        )

    def _keep_private_part(self, frame: bytes, party: Party) -> None:
        """At the end of a run, what belongs to the model that may be delivered to us; empty if all of it is shared."""
        finish = decode(frame) if _is(frame, Kind.FINISH) else None
        if isinstance(finish, Finish):
            meta = {"best_round": finish.best_round}
            write_private_arrays(self._home.state / PRIVATE_FILE, {"private": party.best_private_part}, meta)


@contextmanager
def open_site(folder: Path, *, now: Callable[[], datetime]) -> Iterator[Site]:
    """A partner's site, its ledger locked against other processes until the end; no data are opened.

    Args:
        folder: Holds `site.toml` (`run.site_config`).
        now: The clock.

    Raises:
        InputError: A file cannot be read, or `site.toml` is not one.
        KeyFileError: A key is readable by others, damaged or missing.
        AgreementError: As `own_key`.
        DocumentError, TermsError: Agreement, plan or manifest are not what was written.
        LedgerBusyError: Another process has the site open.
        LedgerError: The copy of the ledger is damaged.
    """
    config = read_site(folder)
    signed, history = read_plan(config.plan), read_agreement(config.agreement)
    home = _Home(
        config=config,
        key=own_key(config, history, now()),
        history=history,
        signed=signed,
        code=installed_code(),
        card=describe_data(config.data),
        now=now,
    )
    commitment = read_commitment_key(config.commitment).commit(signed.plan.consortium, home.card.digest)
    papers = Papers(agreement=config.agreement, policy=config.policy)
    with open_witness(config.partner, home.key, history, config.ledger) as witness:
        yield Site(home, witness, Permit(signed, papers, commitment, home.code, witness, now))


def _coordinators(home: _Home) -> list[PublicKey]:
    versions = home.history.accepted()[-1:]
    return [key.public for agreement in versions for key in agreement.active_keys(home.signed.plan.coordinator)]


def _owners(home: _Home) -> dict[str, str]:
    """The partner of each key id that any accepted version of the agreement names."""
    return {key.public.key_id: key.partner for agreement in home.history.accepted() for key in agreement.keys}


def _open_party(home: _Home, permit: Permit) -> Party:
    """The party, with its data; only after the permit's yes."""
    plan, config = home.signed.plan, home.config
    agreement = read_agreement(config.agreement).current(home.now())
    try:
        home.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write {home.state}: {error.strerror}") from error
    terms = SecureTerms(
        partner=config.partner,
        identity=IdentityKey(home.key.private),
        members=tuple(_member(agreement, partner) for partner in plan.partners),
        n_colluders=plan.aggregation.n_colluders,
        ring_degree=plan.aggregation.ring_degree,
        tier=tier_of(plan),
    )
    is_fedsgd = training_plan_of(plan).method.algorithm is Algorithm.FEDSGD
    return Party(
        _learner(home),
        Masked(terms, home.state),
        home.state,
        permit,
        may_miss_rounds=plan.goes_on,
        n_rounds=plan.n_rounds,
        n_steps=None if is_fedsgd else 1,
    )


def _member(agreement: Agreement, partner: str) -> Member:
    """A partner with the key pinned in the agreement; of several, the first, as everywhere."""
    return Member(id=partner, identity=agreement.active_keys(partner)[0].public.raw)


def _learner(home: _Home) -> Learner:
    plan, config = home.signed.plan, home.config
    training = training_plan_of(plan)
    seed = (training.seed, plan.partners.index(config.partner))
    local = training.local
    if isinstance(local, LocalSettings) != (config.data.kind is DataKind.INTERACTIONS):
        raise DataFileError(f"{plan.label} trains {plan.model}, which does not learn from {config.data.kind}")
    if isinstance(local, LocalSettings):
        dataset = read_interactions(config.data, home.card, config.partner)
        return LocalLearner(dataset, local, training.method, seed)
    data = partner_tasks(
        config.partner,
        read_tasks(config.data, home.card),
        local,
        train_folds=config.data.train_folds,
        valid_folds=config.data.valid_folds,
    )
    return MultitaskLearner(data, local, training.method, seed)


def _score(home: _Home, model: DeliveredModel) -> None:
    """Write how well a delivered model does here; whatever keeps us from knowing, the model is ours."""
    config, problem = home.config, ""
    scores: tuple[PartScore, ...] = ()
    try:
        private = read_arrays(home.state / PRIVATE_FILE)[0]["private"].astype(np.float64)
        scores = site_scores(home.signed.plan, config.data, home.card, config.partner, model, private)
    except PharmoniaError as error:
        problem = str(error)
    write_scores(home.state, config.partner, model, scores, problem)


def _is(frame: bytes, kind: Kind) -> bool:
    """Whether a frame's first bytes say so; whether it is whole is for `decode` to say."""
    return frame[: len(MAGIC) + 1] == MAGIC + bytes([kind])
