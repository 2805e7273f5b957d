"""A partner's side of a run: answers frames, keeps data, private tensors and optimiser state at home."""

from pathlib import Path

import numpy as np

from pharmonia.base.arrays import Vector
from pharmonia.base.errors import MessageError, StoreError
from pharmonia.learn.contributions import N_TOTALS, Contribution
from pharmonia.learn.learner import Learner
from pharmonia.learn.messages import (
    Broadcast,
    Done,
    Finish,
    Repeat,
    SessionRequest,
    StatisticsRequest,
    decode,
    encode,
    is_learning_frame,
)
from pharmonia.run.arrayfile import read_arrays, write_private_arrays
from pharmonia.run.cohorts import place_of
from pharmonia.run.permit import Permit
from pharmonia.run.protection import Protection, Work
from pharmonia.run.tensors import VALIDATION, digest_of, sum_layout
from pharmonia.secagg.messages import decode as decode_secure

_KEPT_FILES = "before-round-*.safetensors"  # private state, one file a round
_KEPT_STATES = 2  # the coordinator's own checkpoint may be one behind


class Party:
    """One partner: its data, its model, and its private state on its own disk."""

    def __init__(
        self,
        learner: Learner,
        protection: Protection,
        folder: Path,
        permit: Permit | None = None,
        *,
        may_miss_rounds: bool = False,
        n_rounds: int | None = None,
        n_steps: int | None = None,
    ) -> None:
        """Make a party.

        Args:
            learner: What it trains, on its own data.
            protection: What becomes of its contributions.
            folder: Where it keeps its private state, made when first needed.
            permit: None without a plan.
            may_miss_rounds: Whether the others go on without it while it is away, so that it comes back to a later
                round with the private state that it had.
            n_rounds: That it trains at most; None for as many as it is asked for, where no plan says it.
            n_steps: Of each round; None where no plan says it, as with FedSGD: it follows from all partners' rows.
        """
        self._learner = learner
        self._protection = protection
        self._folder = folder
        self._permit = permit
        self._may_miss_rounds = may_miss_rounds
        self._n_rounds = n_rounds
        self._n_steps = n_steps
        self._layout = sum_layout(learner.sum_tensors)
        self._next = (0, 0)  # round and step

    def handle(self, frame: bytes) -> bytes:
        """The answer to a coordinator's frame; under a plan that does not allow it, a refusal, the frame unread.

        Raises:
            MessageError: A frame that no coordinator sends, or a round or a step that the plan has not.
            StoreError: The round is one for which no private state was kept.
        """
        refusal = None if self._permit is None else self._permit.refusal(masks=self._protection.masks)
        return self._answer(frame) if refusal is None else refusal

    def _answer(self, frame: bytes) -> bytes:
        if not is_learning_frame(frame):
            return self._protection.answer(decode_secure(frame))
        match decode(frame):
            case SessionRequest() as request:
                return self._protection.start_session(request)
            case StatisticsRequest() as request:
                self._forget()  # a run begins: what an earlier attempt kept is of no use
                work = Work(
                    place=place_of(request),
                    sum_index=request.sum_index,
                    magnitudes=request.magnitudes,
                    layout=sum_layout(self._learner.statistics_tensors),
                    model_digest=digest_of(np.empty(0)),
                    make=self._learner.statistics,
                )
                return self._protection.announce(work)
            case Broadcast() as broadcast:
                self._require_planned(broadcast)
                return self._protection.announce(self._work(broadcast))
            case Repeat() as repeat:
                return self._protection.repeat(repeat)
            case Finish() as finish:
                self._learner.note_best(finish.best_round)
                return encode(Done())
            case message:
                raise MessageError(f"a coordinator does not send {type(message).__name__}")

    def _require_planned(self, broadcast: Broadcast) -> None:
        """Refuse to train more than the plan's rounds; the broadcast after the last may validate, and not train."""
        index, n_rounds = broadcast.round_index, self._n_rounds
        if n_rounds is not None and index + broadcast.train > n_rounds:
            deed = "train" if broadcast.train else "validate before"
            raise MessageError(f"asked to {deed} round {index}, but the plan has {n_rounds} rounds, counted from 0")
        n_steps = broadcast.n_steps
        if self._n_steps not in (None, n_steps):
            raise MessageError(
                f"asked for {n_steps} steps in round {index}, but a round of the plan has {self._n_steps}"
            )

    def _work(self, broadcast: Broadcast) -> Work:
        return Work(
            place=place_of(broadcast),
            sum_index=broadcast.sum_index,
            magnitudes=broadcast.magnitudes,
            layout=self._layout if broadcast.train else VALIDATION,
            model_digest=digest_of(broadcast.parameters),
            make=lambda: self._contribute(broadcast),
        )

    def _contribute(self, broadcast: Broadcast) -> Contribution:
        place = (broadcast.round_index, broadcast.step)
        if place != self._next:
            self._restore(*place)
        contribution = self._learner.contribute(broadcast)
        if not broadcast.train:
            return contribution
        is_last = broadcast.step == broadcast.n_steps - 1
        self._next = (broadcast.round_index + 1, 0) if is_last else (broadcast.round_index, broadcast.step + 1)
        if broadcast.save and is_last:
            self._save()
        return contribution

    @property
    def last_contribution(self) -> Contribution:
        """What this party last put into a sum, in the clear: for the simulation's own check, never in a frame."""
        return self._protection.last

    @property
    def change_lengths(self) -> tuple[int, ...]:
        """Lengths of the tensors in a contribution, without the totals."""
        return self._layout.lengths[:-N_TOTALS]

    @property
    def best_private_part(self) -> Vector:
        """This partner's private tensors in the best round's model."""
        return self._learner.best_private_part

    def private_part_of(self, best_round: int) -> Vector:
        """Its private tensors in the best round's model, as a party has them that was away when the run ended.

        From the newest state that it kept: of the last round that it was in, if that was before the best.
        """
        kept = sorted(self._folder.glob(_KEPT_FILES))
        if kept:
            arrays, meta = read_arrays(kept[-1])
            self._learner.restore(arrays, int(meta["candidate_round"]))
        self._learner.note_best(best_round)
        return self._learner.best_private_part

    def _state_file(self, round_index: int) -> Path:
        return self._folder / f"before-round-{round_index:06d}.safetensors"

    def _save(self) -> None:
        state, candidate_round = self._learner.private_state()
        write_private_arrays(self._state_file(self._next[0]), state, {"candidate_round": candidate_round})
        for old in sorted(self._folder.glob(_KEPT_FILES))[:-_KEPT_STATES]:
            old.unlink()

    def _forget(self, after: Path | None = None) -> None:
        """What was kept, or only what was kept for later rounds: of an attempt that ended before all had made them.

        A state of an abandoned attempt that stayed would count in `_save` as one that the coordinator may resume from.
        """
        for old in self._folder.glob(_KEPT_FILES):
            if after is None or old > after:
                old.unlink(missing_ok=True)

    def _restore(self, round_index: int, step: int) -> None:
        place, path = (round_index, step), self._state_file(round_index)
        if self._may_miss_rounds:
            kept = [file for file in sorted(self._folder.glob(_KEPT_FILES)) if file <= path]
            if self._next < place and (not kept or self._next != (0, 0)):
                self._next = place  # it was away, and nothing on the disk is newer than what it has
                self._forget(after=path)
                return
            path = kept[-1] if kept else path
        if (step and not self._may_miss_rounds) or not path.exists():
            raise StoreError(
                f"asked for step {step} of round {round_index}, but this party is at {self._next} and kept no state in "
                f"{path}; start the run again with a new output directory"
            )
        arrays, meta = read_arrays(path)
        self._learner.restore(arrays, int(meta["candidate_round"]))
        self._next = place
        self._forget(after=path)
