"""The figures that a report must bear again: those of the federated model over everybody's test rows."""

import json
import math
from collections.abc import Mapping

from pharmonia.base.errors import InputError
from pharmonia.governance.events import MAX_TEN_THOUSANDTHS, FigureName, RecordedFigure

SCHEMA = "pharmonia/comparison"


def figures_of(content: bytes) -> tuple[RecordedFigure, ...]:
    """The figures of a results.json, rounded to ten-thousandths, as an `Evaluated` event records them.

    They are the federated arm's, over the rows of all partners; a metric that is undefined there is left out.

    Raises:
        InputError: These bytes are not the results of a comparison.
    """
    try:
        tree = json.loads(content)
        if tree["schema"] != SCHEMA:
            raise InputError(f"expected results of schema {SCHEMA}, got {str(tree['schema'])[:40]!a}")
        [overall] = [one for one in tree["comparisons"] if one["partner"] is None and one["rows"] == "all"]
        scores = overall["scores"]["federated"]
        found = {name: _ten_thousandths(scores[name]) for name in FigureName if name in scores}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError("these are not the results of a comparison; name a results.json") from error
    figures = [RecordedFigure(name=name, ten_thousandths=value) for name, value in found.items() if value is not None]
    return tuple(sorted(figures, key=lambda figure: figure.name.value))


def _ten_thousandths(figure: Mapping[str, object]) -> int | None:
    if "undefined" in figure:
        return None
    value = figure["value"]
    if not isinstance(value, int | float) or not math.isfinite(value) or abs(value) * 10_000 > MAX_TEN_THOUSANDTHS:
        raise ValueError(f"a figure must be a number up to {MAX_TEN_THOUSANDTHS // 10_000}")
    return round(value * 10_000)
