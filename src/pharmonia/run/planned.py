"""What to train, read off a signed plan: the same at the coordinator and at every partner, with nothing left to choose.

`bench.planned` writes the settings of a plan; this reads them. A setting that is not known here is refused by name, as
one that is not understood may change the result.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import TypeVar

from pharmonia.base.errors import OptionError, RefusedError, UnknownNameError
from pharmonia.governance.plan import MAX_WEIGHT_BITS, RunPlan, Scalar, Setting, Tier
from pharmonia.learn.algorithms import Schedule
from pharmonia.learn.settings import LocalSettings, Method, Optimiser
from pharmonia.nn.choices import Model, Norm
from pharmonia.run.records import TrainingPlan

NameT = TypeVar("NameT", bound=StrEnum)
_ABOUT_DATA = frozenset({"dataset", "partition", "split"})  # how data were shared out; each partner has its share


def training_plan_of(plan: RunPlan) -> TrainingPlan:
    """What the plan's model and method settings say.

    Raises:
        OptionError: A setting that is not known, missing, or of another type or range, or a privacy budget or kind of
            secure sums that is not to be had; names plan and setting.
        UnknownNameError: A model, norm, optimiser or method that does not exist.
        RefusedError: Updates would be seen by the server; between organisations only secure sums run.
    """
    _require_feasible(plan)
    model, method = _Settings(plan.label, plan.model_settings), _Settings(plan.label, plan.method_settings)
    local = LocalSettings(
        model=_named(plan, "model", plan.model, Model),
        norm=_named(plan, "norm", model.text("norm"), Norm),
        optimiser=_named(plan, "optimiser", method.text("optimiser"), Optimiser),
        learning_rate=method.number("learning-rate"),
        batch_size=method.integer("batch-size"),
        local_epochs=method.integer("local-epochs"),
    )
    schedule = Schedule(rounds=plan.n_rounds, patience=method.integer("patience"))
    model.done(frozenset())
    method.done(_ABOUT_DATA)
    return TrainingPlan(local=local, method=Method.parse(plan.method), schedule=schedule, seed=plan.seed)


def _require_feasible(plan: RunPlan) -> None:
    """Refuses what this version cannot do, rather than do it in another way."""
    terms = plan.aggregation
    if not plan.requires_secure_sums:
        raise RefusedError(f"{plan.label} does not ask for secure sums; between organisations nothing else is run")
    if (terms.tier, terms.weight_bits) != (Tier.COMMIT_THEN_MASK, MAX_WEIGHT_BITS):
        raise OptionError(
            f"{plan.label}: secure sums are run as {Tier.COMMIT_THEN_MASK} with {MAX_WEIGHT_BITS} weight bits, not as "
            f"{terms.tier} with {terms.weight_bits}"
        )
    if plan.privacy_budget is not None:
        raise OptionError(f"{plan.label} has a privacy budget, which this version of Pharmonia cannot keep to")


def _named(plan: RunPlan, what: str, text: str, names: type[NameT]) -> NameT:
    if text not in set(names):
        raise UnknownNameError(f"{plan.label}: the {what} is one of {', '.join(names)}; got {text!r}")
    return names(text)


class _Settings:
    """Settings taken one by one; `done` refuses what nobody took."""

    def __init__(self, label: str, settings: Sequence[Setting]) -> None:
        self._label = label
        self._left = {setting.name: setting.value for setting in settings}

    def _take(self, name: str) -> Scalar:
        if name not in self._left:
            raise OptionError(f"{self._label} lacks the setting {name}; have a version of it approved that has it")
        return self._left.pop(name)

    def _wrong(self, name: str, expected: str, value: Scalar) -> OptionError:
        return OptionError(f"{self._label}: the setting {name} must be {expected}, got {value!r}")

    def text(self, name: str) -> str:
        """A setting that is a word."""
        value = self._take(name)
        if not isinstance(value, str):
            raise self._wrong(name, "a word", value)
        return value

    def integer(self, name: str) -> int:
        """A setting that is a whole number."""
        value = self._take(name)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self._wrong(name, "a whole number", value)
        return value

    def number(self, name: str) -> float:
        """A setting that is a number."""
        value = self._take(name)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise self._wrong(name, "a number", value)
        return float(value)

    def done(self, known: frozenset[str]) -> None:
        """Refuses settings that nobody took, but for those that say nothing about training."""
        strange = sorted(set(self._left) - known)
        if strange:
            raise OptionError(
                f"{self._label}: the setting {strange[0]} is not known to this version of Pharmonia; install the one "
                f"that the plan was written for"
            )
