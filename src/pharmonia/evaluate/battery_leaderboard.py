"""The leaderboard of the battery's page: methods by rank, and all settings in a table that sorts and filters."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pharmonia.evaluate.battery import BASELINES, BatteryArm
from pharmonia.evaluate.battery_ranks import rank_note
from pharmonia.evaluate.battery_report import BatteryReport
from pharmonia.evaluate.battery_stats import MeanCost, SettingResult
from pharmonia.evaluate.battery_style import CALL_LOOK
from pharmonia.evaluate.battery_tables import mse_unit, rank_table, way_text
from pharmonia.evaluate.battery_wording import (
    alternatives_text,
    better_baselines,
    fixed_text,
    index_text,
    mse_text,
    p_text,
    seeds_text,
    share_text,
    unlike_alternatives,
    varying_fields,
)
from pharmonia.evaluate.gain import Undefined
from pharmonia.evaluate.report_markup import card, table, text, two_lines
from pharmonia.evaluate.wording import NO_NUMBER, data_size, seconds

_WORD = ' class="word"'
_SORTED = ' aria-sort="descending"'


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cell:
    shown: str
    value: str  # what is sorted by; empty: always last
    colour: str = ""  # of the text


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    title: str
    cells: Sequence[_Cell]
    is_word: bool = False
    high_first: bool = False  # which way the first click sorts
    is_sorted: bool = False  # the rows come in its order


def leaderboard(report: BatteryReport) -> str:
    """The section of the page with both tables."""
    ranks = table(
        rank_table(report),
        "Rank by mean federated test MSE, 1 is best, over the settings that every method finished under the same "
        f"seeds; clear calls after Holm's correction over all settings. {rank_note(report.settings)}",
    )
    n = len(report.settings)
    unit, seeds = mse_unit(report, report.settings), seeds_text(len(report.seeds))
    unlike = unlike_alternatives(report.settings)
    caption = f"{fixed_text(report.keys)}. MSE in {unit}, means over {seeds}. {unlike}".strip(". ") + "."
    tools = (
        '<div class="tools"><label for="board-filter">Show settings with the words</label>'
        '<input id="board-filter" type="search" data-filter="board-table" placeholder="target fedavg">'
        f'<span id="board-table-count" aria-live="polite">{n} of {n} settings</span></div>'
    )
    return (
        '<div id="board">'
        + card(
            "Leaderboard",
            f"A click on a heading sorts, a second one the other way. {better_baselines(report.settings)}".strip(),
            ranks if len(report.ranks) > 1 else "",
            tools,
            _sortable("board-table", _columns(report), caption),
        )
        + "</div>"
    )


def _columns(report: BatteryReport) -> list[_Column]:
    unlike = bool(unlike_alternatives(report.settings))  # then a ranking by gain would mislead: reading order instead
    settings = list(report.settings) if unlike else sorted(report.settings, key=lambda s: -_gain(s))
    words = ["scenario", "method", *varying_fields(report.keys)]
    titles = {"dataset": "data set"}
    columns = [_words(titles.get(name, name), [getattr(s.key, name) for s in settings]) for name in words]
    columns.insert(1, _numbers("partners", [(str(s.key.n_partners), s.key.n_partners) for s in settings]))
    if len({len(s.seeds) for s in settings}) > 1:
        columns.append(_numbers("seeds", [(str(len(s.seeds)), len(s.seeds)) for s in settings]))
    columns.append(_numbers("gain", [_gain_cell(s) for s in settings], high_first=True, is_sorted=not unlike))
    if unlike:
        columns.append(_words("gain is over", [alternatives_text(s) for s in settings]))
    columns.append(_calls(settings))
    columns.append(_numbers("p (Holm)", [(p_text(s.p_adjusted), s.p_adjusted) for s in settings]))
    columns += [_errors(settings, BatteryArm.FEDERATED), _indices(settings), _best(settings)]
    columns.append(_errors(settings, BatteryArm.POOLED))
    columns += [_errors(settings, arm) for arm in (BatteryArm.DISTILLED, *BASELINES) if arm in report.arms]
    ways = [None if isinstance(s.gap_closed, Undefined) else s.gap_closed for s in settings]
    shown = [way_text(s.gap_closed) for s in settings]
    columns.append(_numbers("way to pooled", list(zip(shown, ways, strict=True)), high_first=True))
    columns.append(_costs("rounds", settings, lambda cost: cost.rounds_run, lambda n: f"{n:.0f}"))
    both_ways = _costs(
        "traffic",
        settings,
        lambda cost: cost.bytes_to_partners + cost.bytes_from_partners,
        lambda n: data_size(round(n)),
    )
    columns += [both_ways, _costs("CPU time", settings, lambda cost: cost.cpu_s, seconds)]
    return columns


def _gain(setting: SettingResult) -> float:
    return float("-inf") if isinstance(setting.gain, Undefined) else setting.gain.value


def _gain_cell(setting: SettingResult) -> tuple[str, float | None]:
    gain = setting.gain
    return share_text(gain), None if isinstance(gain, Undefined) else gain.value


def _words(title: str, words: Sequence[str]) -> _Column:
    return _Column(title=title, cells=[_Cell(shown=word, value=word) for word in words], is_word=True)


def _numbers(
    title: str, cells: Sequence[tuple[str, float | None]], *, high_first: bool = False, is_sorted: bool = False
) -> _Column:
    shown = [_Cell(shown=word, value="" if value is None else repr(float(value))) for word, value in cells]
    return _Column(title=title, cells=shown, high_first=high_first, is_sorted=is_sorted)


def _calls(settings: Sequence[SettingResult]) -> _Column:
    cells = [_Cell(shown=s.call.value, value=s.call.value, colour=CALL_LOOK[s.call].colour) for s in settings]
    return _Column(title="verdict", cells=cells, is_word=True)


def _errors(settings: Sequence[SettingResult], arm: BatteryArm) -> _Column:
    means = [setting.mean_of(arm) for setting in settings]
    return _numbers(f"MSE {arm.value}", [(mse_text(m.mse if m else None), m.mse.value if m else None) for m in means])


def _costs(
    title: str, settings: Sequence[SettingResult], amount: Callable[[MeanCost], float], shown: Callable[[float], str]
) -> _Column:
    """What the federated arm took; a dash where none ran."""
    amounts = [amount(setting.cost) if setting.federated_mse else None for setting in settings]
    return _numbers(title, [(NO_NUMBER if n is None else shown(n), n) for n in amounts])


def _indices(settings: Sequence[SettingResult]) -> _Column:
    means = [setting.mean_of(BatteryArm.FEDERATED) for setting in settings]
    values = [mean.ci if mean else None for mean in means]
    cells = [(index_text(value), value) for value in values]
    return _numbers("concordance index, federated", cells, high_first=True)


def _best(settings: Sequence[SettingResult]) -> _Column:
    cells: list[tuple[str, float | None]] = []
    for setting in settings:
        arm = setting.best_alternative
        mean = setting.mean_of(arm) if arm else None
        shown = f"{mse_text(mean.mse)} ({mean.arm.value})" if mean else mse_text(None)
        cells.append((shown, mean.mse.value if mean else None))
    return _numbers("MSE best alternative", cells)


def _sortable(name: str, columns: Sequence[_Column], caption: str) -> str:
    """A table whose headings are buttons; each cell carries what it is sorted by."""
    head = "".join(
        f'<th scope="col"{_WORD if c.is_word else ""}{_SORTED if c.is_sorted else ""} '
        f'data-first="{"descending" if c.high_first else "ascending"}">'
        f'<button type="button">{text(c.title)}</button></th>'
        for c in columns
    )
    body = "".join(
        "<tr>" + "".join(_sortable_cell(column, row) for column in columns) + "</tr>"
        for row in range(len(columns[0].cells))
    )
    return (
        f'<div class="scroll long" tabindex="0" role="region" aria-label="All settings">'
        f'<table id="{name}" class="sortable"><caption>{text(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _sortable_cell(column: _Column, row: int) -> str:
    cell = column.cells[row]
    shown = f'<span class="call" style="--call:{cell.colour}">{text(cell.shown)}</span>' if cell.colour else ""
    return f'<td{_WORD if column.is_word else ""} data-value="{text(cell.value)}">{shown or two_lines(cell.shown)}</td>'
