"""What a verdict on a claim rests on: effects with intervals, thresholds and the rows behind them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pharmonia.base.errors import MetricError
from pharmonia.evaluate.battery import CellKey
from pharmonia.evaluate.battery_rows import RowsTested, Sameness
from pharmonia.evaluate.battery_stats import ALPHA, OverSeeds, SettingResult
from pharmonia.evaluate.wording import count_text

MARGIN = 0.05  # relative change of the MSE that counts as a change
MARGIN_TEXT = f"{100 * MARGIN:g} %"

Errors = Mapping[CellKey, Mapping[int, float]]  # federated MSE by setting and seed, all above zero
TestedRows = Mapping[CellKey, Mapping[int, RowsTested]]  # test rows by setting and seed


class Answer(StrEnum):
    """Verdict on a claim."""

    SUPPORTED = "supported"
    NOT_SUPPORTED = "not supported"
    CANNOT_SAY = "cannot say"


class Finding(StrEnum):
    """Whether an effect reaches its threshold."""

    SHOWN = "shown"  # the mean does, and the effect is clearly not zero
    RULED_OUT = "ruled out"  # the whole interval lies below the threshold
    OPEN = "open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One number that a claim rests on: a share, positive in the direction that the threshold speaks of."""

    what: str
    size: OverSeeds
    threshold: float
    p_adjusted: float | None  # of an effect of zero, two-sided, after the correction that the claim needs
    n_settings: int  # averaged over under each seed
    rows: Sameness  # of the test rows of what is compared, under each seed

    @property
    def finding(self) -> Finding:
        """Shown, ruled out, or open; always open with one seed."""
        if self.size.high < self.threshold:
            return Finding.RULED_OUT
        clear = self.p_adjusted is not None and self.p_adjusted < ALPHA
        return Finding.SHOWN if clear and self.size.value >= self.threshold else Finding.OPEN


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimResult:
    """One claim with its verdict."""

    statement: str
    rule: str  # when it would be supported, and when not
    answer: Answer
    sentence: str
    effects: tuple[Effect, ...]  # largest first

    def __post_init__(self) -> None:
        """Refuse an empty sentence, and a verdict without numbers."""
        if not self.sentence or (self.answer is not Answer.CANNOT_SAY and not self.effects):
            raise MetricError("a claim's verdict needs a sentence and, unless it cannot be said, numbers")


def any_shown(effects: Sequence[Effect]) -> Answer:
    """Whether an effect of the threshold's size exists among these."""
    findings = {effect.finding for effect in effects}
    if Finding.SHOWN in findings:
        return Answer.SUPPORTED
    return Answer.NOT_SUPPORTED if findings == {Finding.RULED_OUT} else Answer.CANNOT_SAY


def federated_errors(settings: Sequence[SettingResult]) -> dict[CellKey, dict[int, float]]:
    """The federated MSE of each setting under each seed, where it ran and is above zero."""
    return {
        setting.key: dict(zip(setting.seeds, setting.federated_mse, strict=True))
        for setting in settings
        if setting.federated_mse and min(setting.federated_mse) > 0
    }


def rows_by_seed(settings: Sequence[SettingResult]) -> dict[CellKey, dict[int, RowsTested]]:
    """What each setting was tested on under each seed."""
    return {setting.key: dict(zip(setting.seeds, setting.tested_on, strict=True)) for setting in settings}


def rows_note(effects: Sequence[Effect]) -> str:
    """Plain words where settings that are compared were not, or may not have been, tested on the same rows."""
    n_different = sum(effect.rows is Sameness.DIFFERENT for effect in effects)
    if n_different:
        where = "" if n_different == len(effects) else f"In {n_different} of {count_text(len(effects), 'comparison')} "
        start = f"{where}the settings compared are tested on different rows"
        return f"{start[0].upper()}{start[1:]}, so the comparison is of means, not paired by row."
    if any(effect.rows is Sameness.UNKNOWN for effect in effects):
        return "Whether the settings compared are tested on the same rows is not noted in these results."
    return ""
