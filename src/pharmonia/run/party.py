"""A partner's side of a run: answers frames, keeps data and optimiser state at home."""

from pathlib import Path

from pharmonia.base.errors import MessageError, StoreError
from pharmonia.learn.local import LocalLearner
from pharmonia.learn.messages import Broadcast, Reply, Statistics, StatisticsRequest, decode, encode
from pharmonia.run.arrayfile import read_arrays, write_arrays

_KEPT_STATES = 2  # the coordinator's own checkpoint may be one behind


class Party:
    """One partner: its data, its model, and its private state on its own disk."""

    def __init__(self, learner: LocalLearner, folder: Path) -> None:
        """Folder: where this partner keeps its private state; created when first needed."""
        self._learner = learner
        self._folder = folder
        self._next_round = 0

    def handle(self, frame: bytes) -> bytes:
        """The answer to a coordinator's frame.

        Raises:
            MessageError: A frame that no coordinator sends.
            StoreError: The round is one for which no private state was kept.
        """
        match decode(frame):
            case StatisticsRequest():
                return encode(self._learner.statistics())
            case Broadcast() as broadcast:
                return encode(self._answer(broadcast))
            case Statistics() | Reply() as message:
                raise MessageError(f"a coordinator does not send {type(message).__name__}")

    def _answer(self, broadcast: Broadcast) -> Reply:
        round_index = broadcast.round_index
        if round_index != self._next_round:
            self._restore(round_index)
        score = self._learner.validate(broadcast.parameters)
        update = None
        if broadcast.train:
            update = self._learner.train(broadcast.parameters, round_index)
            self._next_round = round_index + 1
            if broadcast.save:
                self._save()
        return Reply(round_index=round_index, score=score, update=update)

    def _state_file(self, round_index: int) -> Path:
        return self._folder / f"before-round-{round_index:06d}.safetensors"

    def _save(self) -> None:
        write_arrays(self._state_file(self._next_round), self._learner.private_state(), {})
        for old in sorted(self._folder.glob("before-round-*.safetensors"))[:-_KEPT_STATES]:
            old.unlink()

    def _restore(self, round_index: int) -> None:
        path = self._state_file(round_index)
        if not path.exists():
            raise StoreError(
                f"asked for round {round_index}, but this party is at round {self._next_round} and kept no state in "
                f"{path}; start the run again with a new output directory"
            )
        arrays, _ = read_arrays(path)
        self._learner.restore(arrays)
        self._next_round = round_index
