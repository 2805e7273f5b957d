"""The model that a run hands over: the best round's shared vector, as bytes that every partner can name alike."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pharmonia.base.arrays import Vector, frozen_copy
from pharmonia.base.errors import MessageError, StoreError, TermsError
from pharmonia.governance.documents import require_digest
from pharmonia.governance.plan import MAX_ROUNDS
from pharmonia.learn.messages import vector_digest
from pharmonia.run.arrayfile import canonical_file, read_arrays

MODEL_FILE = "model.safetensors"
MAX_PARAMETERS = 2**27  # 1 GiB
_NAME = "parameters"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DeliveredModel:
    """The shared vector of a run's best round.

    Args:
        plan: Digest of the plan.
        best_round: Counted from 0.
        parameters: (n_params,) float64; with SCAFFOLD its control variate too, as the ledger's digest is of both.
        aggregate: As on the ledger: SHA-256 of the vector.

    Raises:
        MessageError: A model that no run has.
    """

    plan: str
    best_round: int
    parameters: Vector
    aggregate: str = field(init=False)

    def __post_init__(self) -> None:
        require_model(self.plan, self.best_round)
        if self.parameters.ndim != 1 or not 1 <= self.parameters.size <= MAX_PARAMETERS:
            raise MessageError(f"a shared vector has 1 to {MAX_PARAMETERS} numbers, got {self.parameters.shape}")
        if not np.isfinite(self.parameters).all():
            raise MessageError("a shared vector holds something that is no number")
        object.__setattr__(self, "parameters", frozen_copy(self.parameters))
        object.__setattr__(self, "aggregate", vector_digest(self.parameters))

    def file(self) -> bytes:
        """What is written as `model.safetensors`; follows from plan, round and vector alone."""
        return canonical_file(_NAME, self.parameters, {"plan": self.plan, "best_round": self.best_round})


def require_model(plan: str, best_round: int) -> None:
    """Refuse names that no model has.

    Raises:
        MessageError: No digest, or no round.
    """
    try:
        require_digest(plan, "the plan of a model")
    except TermsError as error:
        raise MessageError(str(error)) from error
    if not 0 <= best_round < MAX_ROUNDS:
        raise MessageError(f"a run has no round {best_round}")


def content_digest(content: bytes) -> str:
    """What the ledger names a handed-over file by: its SHA-256, 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def read_delivered(path: Path) -> DeliveredModel:
    """The model in a file that a run handed over.

    Raises:
        StoreError: It is missing, damaged or of another kind.
    """
    arrays, meta = read_arrays(path)
    try:
        return DeliveredModel(
            plan=str(meta["plan"]), best_round=int(meta["best_round"]), parameters=arrays[_NAME].astype(np.float64)
        )
    except (KeyError, ValueError, TypeError, MessageError) as error:
        raise StoreError(f"{path} is not a model that a run handed over: {error}") from error
