"""The coordinator's side of a rehearsal: one secure sum of zeros over all partners, through the run's own engine."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from pharmonia.base.errors import MessageError
from pharmonia.governance.plan import RunPlan
from pharmonia.learn.learner import Tensors
from pharmonia.learn.messages import Broadcast
from pharmonia.run.engine import Arrived, Engine, Exchange, OnReply, exchange
from pharmonia.run.planned_sums import secure_sums
from pharmonia.run.preflight_rehearsal import Part, encode_roster, rehearsed_tensors, unwrap, wrap
from pharmonia.run.sums import Request
from pharmonia.run.tensors import digest_of, sum_layout
from pharmonia.secagg.roster import Member


class _Rehearsed:
    """An engine whose frames are a rehearsal's."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def partners(self) -> tuple[str, ...]:
        """As the engine has them."""
        return self._engine.partners

    def carry(self, frames: Mapping[str, bytes], on_reply: OnReply) -> Exchange:
        """As the engine, within a rehearsal."""
        wrapped = {frame: wrap(Part.CARRY, frame) for frame in set(frames.values())}
        return self._engine.carry(
            {partner: wrapped[frame] for partner, frame in frames.items()},
            lambda partner, reply: on_reply(partner, Arrived(unwrap(Part.CARRY, reply.whole()))),
        )


def rehearse(engine: Engine, plan: RunPlan) -> int:
    """Number of values that were summed over all partners, every sum of which was zero.

    Args:
        engine: Reaches all partners of the plan.
        plan: Says of what length, and how updates are summed.

    Raises:
        MessageError: An answer that belongs in no rehearsal, or a sum that is not of zeros.
        PharmoniaError: As `SecureSums`: whatever would have ended the first round.
    """
    asked = exchange(engine, wrap(Part.IDENTITY, b""))
    keys = [unwrap(Part.IDENTITY, reply) for reply in asked.replies]
    identities = dict(zip(engine.partners, keys, strict=True))
    for reply in exchange(engine, wrap(Part.ROSTER, encode_roster(identities))).replies:
        unwrap(Part.ROSTER, reply)
    tensors = rehearsed_tensors(plan)
    members = [Member(id=partner, identity=identities[partner]) for partner in plan.partners]
    with TemporaryDirectory(prefix="pharmonia-rehearsal-") as folder:
        sums = secure_sums(plan, _Rehearsed(engine), members, Path(folder), len(plan.partners))
        sums.start()
        found = sums.collect(_request(tensors))
    if found.total_weight != len(plan.partners) or np.any(found.mean):
        raise MessageError("the rehearsal's sum is not of zeros: a partner answered with something else")
    return found.mean.size


def _request(tensors: Tensors) -> Request:
    parameters = np.zeros(sum(tensors[1]))
    return Request(
        frame_of=lambda index, magnitudes: Broadcast(
            sum_index=index,
            magnitudes=magnitudes,
            round_index=0,
            step=0,
            n_steps=1,
            train=True,
            save=False,
            best_round=-1,
            parameters=parameters,
        ),
        layout=sum_layout(tensors),
        model_digest=digest_of(parameters),
    )
