"""Partners, sessions and whole rounds in memory, shared by the tests of secure aggregation."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pharmonia.base.arrays import Vector
from pharmonia.secagg.fixedpoint import Values, WeightedSum
from pharmonia.secagg.header import Layout, RoundHeader, Tier
from pharmonia.secagg.keys import IdentityKey, SessionKey, make_offer
from pharmonia.secagg.messages import ConfirmedSurvivors, MaskedUpdate, Message, decode, encode
from pharmonia.secagg.partner import PartnerSession, open_session
from pharmonia.secagg.roster import Directory, Member, Roster
from pharmonia.secagg.server import RoundPlan, ServerRound, open_round

MODEL = bytes(range(32))
SESSION = bytes([7]) * 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Consortium:
    """Everybody's secrets and sessions in one place, which exists only in tests."""

    roster: Roster
    identities: dict[str, IdentityKey]
    keys: dict[str, SessionKey]
    directory: Directory
    sessions: dict[str, PartnerSession]

    @property
    def ids(self) -> tuple[str, ...]:
        return self.directory.partners


def names(n: int) -> list[str]:
    return [f"partner-{i:02d}" for i in range(n)]


def roster_of(
    identities: dict[str, IdentityKey], *, n_colluders: int = 0, ring_degree: int = 6, session: bytes = SESSION
) -> Roster:
    members = tuple(Member(id=name, identity=key.public) for name, key in sorted(identities.items()))
    return Roster(session=session, members=members, n_colluders=n_colluders, ring_degree=ring_degree)


def consortium(n: int, *, n_colluders: int = 0, ring_degree: int = 6, session: bytes = SESSION) -> Consortium:
    identities = {name: IdentityKey.generate() for name in names(n)}
    keys = {name: SessionKey.generate() for name in identities}
    roster = roster_of(identities, n_colluders=n_colluders, ring_degree=ring_degree, session=session)
    directory = directory_of(roster, identities, keys)
    sessions = {
        name: open_session(partner=name, identity=identities[name], key=keys[name], directory=directory)
        for name in identities
    }
    return Consortium(roster=roster, identities=identities, keys=keys, directory=directory, sessions=sessions)


def directory_of(roster: Roster, identities: dict[str, IdentityKey], keys: dict[str, SessionKey]) -> Directory:
    offers = tuple(make_offer(roster, name, identities[name], keys[name]) for name in sorted(keys))
    return Directory(roster=roster, offers=offers)


def one_tensor(length: int) -> Layout:
    return Layout(names=("w",), lengths=(length,))


def plan_of(layout: Layout, **changes: object) -> RoundPlan:
    """A round of values in tier A with scale 2^16 and weights of up to 16 bits."""
    fields: dict[str, object] = {
        "round_index": 0,
        "tier": Tier.COMMIT_THEN_MASK,
        "layout": layout,
        "model_digest": MODEL,
        "exponents": (16,) * len(layout.lengths),
        "weight_bits": 16,
    }
    return RoundPlan(**{**fields, **changes})  # type: ignore[arg-type]


def sent(message: Message) -> Message:
    """The message as it arrives: through its bytes and back."""
    return decode(encode(message))


def begin(
    group: Consortium, plan: RoundPlan, who: Sequence[str] | None = None
) -> tuple[dict[str, PartnerSession], ServerRound]:
    """READY from each and the round that it opens."""
    committed = {
        name: group.sessions[name].commit(plan.round_index, plan.layout, plan.model_digest) for name in who or group.ids
    }
    readies = [ready for _, ready in committed.values()]
    return {name: session for name, (session, _) in committed.items()}, open_round(group.directory, plan, readies)


def upload(
    sessions: dict[str, PartnerSession], header: RoundHeader, values: dict[str, Values], weights: dict[str, int]
) -> tuple[dict[str, PartnerSession], dict[str, MaskedUpdate]]:
    """Everybody's masked update, and the sessions after it."""
    outgoing = {
        name: sessions[name].masked_update(sessions[name].prepare_mask(header), values[name], weights[name])
        for name in values
    }
    messages = {name: out.message for name, out in outgoing.items()}
    return sessions | {name: out.session for name, out in outgoing.items()}, messages


def drive_to_upload(
    group: Consortium,
    plan: RoundPlan,
    values: dict[str, Values],
    weights: dict[str, int],
    lost: Sequence[str] = (),
) -> tuple[dict[str, PartnerSession], ServerRound]:
    """A round until the masked updates of all but the lost are in."""
    sessions, server = begin(group, plan)
    sessions, messages = upload(sessions, server.header, values, weights)
    for name, message in messages.items():
        if name not in lost:
            arrived = sent(message)
            assert isinstance(arrived, MaskedUpdate)
            server = server.add(arrived)
    return sessions, server


def tier_a(group: Consortium, plan: RoundPlan, values: dict[str, Values], weights: dict[str, int]) -> WeightedSum:
    return drive_to_upload(group, plan, values, weights)[1].finish()


def unmask(
    sessions: dict[str, PartnerSession], server: ServerRound, silent: Sequence[str] = ()
) -> tuple[dict[str, PartnerSession], ServerRound]:
    """Survivors sign and all but the silent ones reveal."""
    sessions = dict(sessions)
    server, proposal = server.propose()
    for name in proposal.survivors:
        sessions[name], signature = sessions[name].sign_survivors(proposal)
        server = server.add_signature(signature)
    server, confirmed = server.confirm()
    for name, message in confirmed.items():
        if name not in silent:
            sessions[name], reveal = sessions[name].reveal(message)
            server = server.add_reveal(reveal)
    return sessions, server


def plain_sum(values: dict[str, Values], weights: dict[str, int], max_weight: int) -> Vector:
    """The sum of x w / W_max in float64."""
    total: Vector = np.sum([values[n].astype(np.float64) * weights[n] / max_weight for n in sorted(values)], axis=0)
    return total


def magnitude(values: dict[str, Values], weights: dict[str, int], max_weight: int) -> Vector:
    """The sum of |x w / W_max| in float64."""
    return plain_sum({n: np.abs(v) for n, v in values.items()}, weights, max_weight)


def after_upload_b(group: Consortium, plan: RoundPlan) -> tuple[dict[str, PartnerSession], ServerRound]:
    """A round of tier B, every masked update in; each partner's is a multiple of the same."""
    length = plan.layout.length
    values: dict[str, Values] = {n: np.arange(length, dtype=np.float32) * (i - 1.5) for i, n in enumerate(group.ids)}
    return drive_to_upload(group, plan, values, dict.fromkeys(group.ids, 1))


def after_signing(
    group: Consortium, plan: RoundPlan
) -> tuple[dict[str, PartnerSession], ServerRound, dict[str, ConfirmedSurvivors]]:
    """The same, the survivors signed and confirmed."""
    sessions, server = after_upload_b(group, plan)
    server, proposal = server.propose()
    for name in proposal.survivors:
        sessions[name], signature = sessions[name].sign_survivors(proposal)
        server = server.add_signature(signature)
    server, confirmed = server.confirm()
    return sessions, server, dict(confirmed)


FOUR = one_tensor(4)
PLAN = plan_of(FOUR)
PLAN_B = plan_of(FOUR, tier=Tier.DROPOUT_TOLERANT)
GROUP = consortium(5, n_colluders=1)
FIRST = GROUP.ids[0]
X = np.array([1.0, -2.0, 3.0, 0.5], dtype=np.float32)
VALUES: dict[str, Values] = {name: (X * (i + 1)).astype(np.float32) for i, name in enumerate(GROUP.ids)}
ONES = dict.fromkeys(GROUP.ids, 1)
