"""A partner's side of a delivery: takes the model that the plan gives it, and nothing else, onto its own disk."""

from pathlib import Path

from pharmonia.base.errors import InputError, MessageError
from pharmonia.governance.plan import RunPlan
from pharmonia.governance.terms import RefusalCode, ResourceKind
from pharmonia.run.arrayfile import read_arrays
from pharmonia.run.delivered import MODEL_FILE, DeliveredModel, content_digest
from pharmonia.run.delivery_frames import Answer, Kept, Message, Offer, encode
from pharmonia.run.files import write_private
from pharmonia.run.witness import Witness

PRIVATE_FILE = "private.safetensors"  # this partner's own tensors of the best round's model


class Recipient:
    """Whether one partner takes a model, and where it keeps it.

    Guarantees:
        only_a_model_of_our_ledger: Its digest is that of a round that our own copy has under our plan.
        only_the_best_round_s: Of the round whose private part lies beside it.
        no_hand_over_off_the_ledger: That it was handed to us is on our own copy before it is written.
    """

    def __init__(self, plan: RunPlan, witness: Witness, folder: Path) -> None:
        """Plan: that lies here; folder: of what this partner remembers of it."""
        self._plan = plan
        self._witness = witness
        self._folder = folder

    def refusal(self, message: Message) -> tuple[RefusalCode, str] | None:
        """Why not, where the plan forbids it."""
        plan = self._plan
        if isinstance(message, Offer | DeliveredModel) and message.plan != plan.digest:
            reason = f"the model is of plan {message.plan[:16]}, but {plan.label} with {plan.digest[:16]} lies here"
            return RefusalCode.PLAN_NOT_APPROVED, reason
        if self._witness.partner not in plan.recipients(ResourceKind.SHARED_TRUNK):
            return RefusalCode.NOT_RECIPIENT, f"{plan.label} hands the shared trunk to others"
        return None

    def answer(self, message: Message) -> bytes:
        """The answer to an offer, or to a model: then it is on the disk.

        Raises:
            MessageError: Nobody sends that to a partner, or it is not the model that our ledger and disk speak of.
            InputError: The disk is full or cannot be written.
            StoreError: The private part is damaged.
        """
        match message:
            case Offer():
                self._require_ours(message.aggregate, message.best_round)
                return encode(Answer(is_lacking=self._held() != message.content))
            case DeliveredModel():
                self._require_ours(message.aggregate, message.best_round)
                return encode(Kept(content=self._keep(message)))
            case _:
                raise MessageError(f"a coordinator does not send {type(message).__name__}")

    def _keep(self, model: DeliveredModel) -> str:
        content = model.file()
        digest = content_digest(content)
        if (digest, self._witness.public.key_id) not in self._witness.standing.handed_over:
            raise MessageError(f"{self._witness.partner}: a model that our ledger does not show handed over to us")
        write_private(self._folder / MODEL_FILE, content)
        return digest

    def _held(self) -> str:
        try:
            return content_digest((self._folder / MODEL_FILE).read_bytes())
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise InputError(f"cannot read {self._folder / MODEL_FILE}: {error.strerror}") from error

    def _require_ours(self, aggregate: str, best_round: int) -> None:
        partner = self._witness.partner
        if aggregate not in self._witness.standing.aggregates.get(self._plan.digest, set()):
            raise MessageError(f"{partner}: a model that no round of {self._plan.label} on our ledger gave")
        path = self._folder / PRIVATE_FILE
        if not path.exists():
            raise MessageError(f"{partner}: a model of {self._plan.label}, which did not end here")
        _, meta = read_arrays(path)
        if meta.get("best_round") != best_round:
            raise MessageError(
                f"{partner}: the model of round {best_round}, but our private part is of round {meta.get('best_round')}"
            )
