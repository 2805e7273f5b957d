"""The report in plain sentences: what came out, what the words mean, what it does not show."""

from pharmonia.evaluate.gain import Comparison, Estimate, Figure, TestRows, Undefined, Verdict
from pharmonia.evaluate.metrics import Metric
from pharmonia.evaluate.outcome import NO_AGREEMENT, Arm, Cost, RunDescription
from pharmonia.evaluate.report import Report

NO_NUMBER = "\N{EN DASH}"
_MOST_DECIMALS = 6
ARM_MEANING = {
    Arm.ALONE: "each partner trains on its own data only",
    Arm.ENSEMBLE: "mean of the partners' alone models: what they can do without federating",
    Arm.FEDERATED: "one model trained together, data stays with each partner",
    Arm.POOLED: "all data in one place: the ceiling",
}
ROWS_MEANING = {
    TestRows.OWN: "each partner's own held-out rows",
    TestRows.ALL: "everyone's held-out rows",
}


def headline(report: Report) -> str:
    """The answer in one sentence, with its number and interval."""
    overall, gain = report.overall, report.overall.gain
    against = "the best that the partners could do without pooling their data"
    if isinstance(gain, Undefined):
        return f"There is no number for the gain from federating: {gain.reason}."
    match overall.verdict:
        case Verdict.GAINS:
            start = f"Federating cut the error by {percent_range(gain)} against {against}"
        case Verdict.LOSES:
            start = f"Federating did not pay here: its error is {percent_range(negated(gain))} above {against}"
        case Verdict.NO_DIFFERENCE:
            change = percent_text(negated(gain))
            start = f"Federating made no clear difference: the error changed by {change} against {against}"
        case Verdict.TOO_FEW_ROWS:
            return f"{overall.n_rows} test rows are too few to say whether federating pays."
    if overall.verdict is not Verdict.NO_DIFFERENCE and holds_zero(overall.gain_over_seeds):
        loss = f"federating left the error {percent_range(negated(gain))} above {against}"
        said = loss if overall.verdict is Verdict.LOSES else f"{start[0].lower()}{start[1:]}"
        start = f"Not clear over seeds: {said}"
    return f"{start}; {partner_count(report)}."


def holds_zero(over_seeds: Figure) -> bool:
    """Whether other seeds may have no gain or loss, by Student's interval; not where one seed was run."""
    return isinstance(over_seeds, Estimate) and over_seeds.low <= 0 <= over_seeds.high


def partner_count(report: Report) -> str:
    """How many partners gain and, where some do, lose, on their own rows."""
    n = len(report.holdings.partners)
    gains, loses, few = (report.n_partners_that(v) for v in (Verdict.GAINS, Verdict.LOSES, Verdict.TOO_FEW_ROWS))
    text = f"{gains} of {n} partners {'gains' if gains == 1 else 'gain'}"
    if loses:
        text += f", {loses} {'loses' if loses == 1 else 'lose'}"
    return text + (f", {few} {'has' if few == 1 else 'have'} too few rows to tell" if few else "")


def verdict_sentence(comparison: Comparison) -> str:
    """What one partner, or all together, can read from one comparison."""
    who = comparison.partner or "All partners together"
    where = f"on {'its own' if comparison.partner else 'their own'} {comparison.n_rows:,} held-out rows"
    if comparison.rows is TestRows.ALL:
        where = f"on everyone's {comparison.n_rows:,} held-out rows"
    gain = comparison.gain
    if comparison.verdict is Verdict.TOO_FEW_ROWS:
        return f"{who}: {comparison.n_rows} held-out rows are too few for a verdict."
    if isinstance(gain, Undefined):
        return f"{who}: no gain can be given {where}: {gain.reason}."
    verb = {
        Verdict.GAINS: f"error {percent_range(gain)} lower",
        Verdict.LOSES: f"error {percent_range(negated(gain))} higher",
    }.get(comparison.verdict)
    if verb is None:
        change = percent_text(negated(gain))
        return f"{who}: no clear difference {where}: error {change} against the best alternative."
    word = {Verdict.GAINS: "gain", Verdict.LOSES: "lose"}[comparison.verdict]
    word += "s" if comparison.partner else ""
    return f"{who} {word} {where}: {verb} than the best alternative without pooling."


def pooling_sentence(report: Report) -> str:
    """What pooling all data would bring, and how much of that federating brings."""
    pooling, share = report.overall.gain_of_pooling, report.overall.gap_closed
    if isinstance(pooling, Undefined):
        return f"Nothing can be said of pooling: {pooling.reason}."
    if pooling.low <= 0:
        return f"Pooling all data in one place would have changed it by {percent_text(negated(pooling))}."
    text = f"Pooling all data in one place would have cut it by {percent_range(pooling)}"
    if isinstance(share, Undefined) or share.low <= 0:
        return f"{text}."
    return f"{text}; federating brought {percent_range(share)} of that."


def cost_sentence(costs: tuple[Cost, ...]) -> str:
    """What federating took; empty when its cost is not known."""
    found = [cost for cost in costs if cost.arm is Arm.FEDERATED]
    if not found:
        return ""
    cost = found[0]
    traffic = data_size(cost.bytes_to_partners + cost.bytes_from_partners)
    took = seconds(cost.wall_s)
    return f"It took {count_text(cost.n_rounds, 'round')}, {traffic} between the partners and the server and {took}."


def seed_sentence(report: Report) -> str:
    """What the seeds say of the gain."""
    figure = report.overall.gain_over_seeds
    if isinstance(figure, Undefined):
        return "One seed was run." if len(report.description.seeds) == 1 else f"Over seeds: {figure.reason}."
    return f"Gain over {len(report.description.seeds)} seeds: {percent_text(figure)}, Student's t-interval."


def sums_sentence(report: Report) -> str:
    """What left a partner, and how exact the sums were."""
    n_partners = len(report.holdings.partners)
    if report.description.aggregation != "secure":
        return "Plain: each partner's update was sent in the clear. For research only."
    sentence = f"Secure: each update was masked, and the server learnt the sum over the {n_partners} partners alone."
    if n_partners == 2:
        sentence += " With two partners, each can tell the other's update from the sum."
    costs = [cost for cost in report.costs if cost.arm is Arm.FEDERATED and cost.sum_error is not None]
    if not costs:
        return sentence
    clipped = f"{costs[0].n_clipped:,} elements were" if costs[0].n_clipped != 1 else "1 element was"
    return (
        f"{sentence} Largest difference from the float64 sum: {costs[0].sum_error:.1e} of the largest element of its "
        f"tensor; {clipped} clipped."
    )


def agreement_sentence(description: RunDescription) -> str:
    """Under which agreement and plan the federated arm ran, and where the ledger stood; or that it was a simulation."""
    d = description
    if d.agreement == NO_AGREEMENT:
        return f"{d.agreement[0].upper()}{d.agreement[1:]}."
    return (
        f"The federated arm ran under agreement {d.agreement} and plan {d.plan}; after its last round the ledger had "
        f"the root {d.ledger}."
    )


def how_it_was_done(report: Report) -> tuple[tuple[str, str], ...]:
    """(heading, text) pairs that a reader needs to judge and to repeat the comparison."""
    d, n_resamples = report.description, report.n_resamples
    epochs = "1 local epoch" if d.local_epochs == 1 else f"{d.local_epochs} local epochs"
    many = f"means over the {len(d.seeds)} seeds" if len(d.seeds) > 1 else "of this one seed"
    return (
        (
            "Data",
            f"{d.dataset}: {d.n_rows:,} measured interactions of {count_text(d.n_compounds, 'compound')} and "
            f"{count_text(d.n_targets, 'target')}; the value is the {d.measure}.",
        ),
        ("Between partners", f"Partition: {d.partition}."),
        ("Train, valid, test", f"Split: {d.split}; no partner trains on a row that anyone tests on."),
        (
            "Model",
            f"{d.model}, {d.n_params:,} parameters, {d.norm} norm; {d.optimiser}, learning rate "
            f"{d.learning_rate:g}, batches of {d.batch_size:,} rows.",
        ),
        (
            "Federated training",
            f"{d.method}, at most {d.n_rounds} rounds of {epochs}; an arm stops after {d.patience} rounds "
            "without a better validation error and keeps its best model.",
        ),
        ("Sums", sums_sentence(report)),
        ("Agreement", agreement_sentence(d)),
        ("Seeds", f"{', '.join(map(str, d.seeds))}; the figures are {many}."),
        (
            "Best alternative",
            "Alone or ensemble, whichever has the lower error on the test rows, chosen anew in every resample. "
            "Choosing on the test rows can favour the alternative, never federating. "
            "Gain = 1 \N{MINUS SIGN} MSE federated / MSE of the best alternative.",
        ),
        (
            "Intervals",
            f"95 %, from {n_resamples:,} paired bootstrap resamples of the test rows: every arm is scored on "
            "the same resampled rows. A partner gains or loses when its interval excludes zero.",
        ),
    )


def count_text(n: int, one: str) -> str:
    """``1 setting``, ``12 settings``."""
    return f"{n:,} {one}" if n == 1 else f"{n:,} {one}s"


def limits(description: RunDescription) -> tuple[str, ...]:
    """What the comparison does not show."""
    seeds = (
        "One seed was run, so nothing is known about how much another training run would differ."
        if len(description.seeds) == 1
        else "Intervals over test rows and over seeds answer two questions; neither includes the other. Under each "
        "seed the partner of a name owns other rows, so a partner's figures are means over different owners."
    )
    return (
        "Intervals tell how much the figures would change with other test rows like these. Rows that share a "
        "compound or target are not independent, so for new compounds or targets expect wider ones.",
        seeds,
        "Each partner's interval stands alone: of the partners without a true difference, about one in twenty "
        "shows one by chance.",
        "The partners here are shares of one data set. Real partners differ more, in assays and in chemistry.",
        "The ensemble has the partners exchange models or predictions; what that reveals is not judged here.",
        "Wall and processor time are of this machine, with all partners on it; bytes are those of the messages, "
        "without what a network adds.",
    )


def figure_text(figure: Figure, digits: int = 3) -> str:
    """``0.312 (0.290 to 0.335)``, or a dash."""
    if isinstance(figure, Undefined):
        return NO_NUMBER
    return f"{figure.value:.{digits}f} ({figure.low:.{digits}f} to {figure.high:.{digits}f})"


def metric_text(figure: Figure, metric: Metric) -> str:
    """A metric with its interval, with the digits that its interval supports."""
    large = isinstance(figure, Estimate) and metric is Metric.MSE and figure.value >= 10
    return figure_text(figure, 1 if large else 3)


def percent_text(figure: Figure) -> str:
    """``+12 % (+7.0 to +16)``, or a dash."""
    return NO_NUMBER if isinstance(figure, Undefined) else _percents(figure, sign=True)


def percent_range(figure: Estimate) -> str:
    """``12 % (7.0 to 16)``."""
    return _percents(figure, sign=False)


def _percents(figure: Estimate, *, sign: bool) -> str:
    """A value and its interval; one that excludes zero has decimals enough not to seem to hold it by rounding."""
    nearest = 100.0 * min(abs(figure.low), abs(figure.high))
    excludes = figure.low > 0 or figure.high < 0
    n = next((n for n in range(1, _MOST_DECIMALS) if float(f"{nearest:.{n}f}")), _MOST_DECIMALS) if excludes else 1
    value, low, high = (percent(one, sign=sign, n_decimals=n) for one in (figure.value, figure.low, figure.high))
    return f"{value} ({low.removesuffix(' %')} to {high.removesuffix(' %')})"


def percent(share: float, *, sign: bool = False, n_decimals: int = 1) -> str:
    """A share as a percentage, with decimals below 10 %, a true minus and, if asked, a plus."""
    value = 100.0 * share
    text = f"{abs(value):.{n_decimals}f}" if abs(value) < 9.95 else f"{abs(value):.0f}"
    mark = "\N{MINUS SIGN}" if value < 0 and float(text) else "+" if sign and float(text) else ""
    return f"{mark}{text} %"


def negated(estimate: Estimate) -> Estimate:
    """A gain as a loss."""
    return Estimate(value=-estimate.value, low=-estimate.high, high=-estimate.low)


def data_size(n_bytes: int) -> str:
    """Bytes in decimal units: ``41.2 MB``."""
    size = float(n_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.3g} {unit}"
        size /= 1000.0
    return f"{size:.3g} TB"


def seconds(duration_s: float) -> str:
    """A duration as people say it: ``48 s``, ``3 min 20 s``, ``2 h 05 min``."""
    if duration_s < 9.95:
        return f"{duration_s:.1f} s"
    whole = round(duration_s)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
