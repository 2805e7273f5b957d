"""Which sets of survivors may be unmasked: the rule that the server follows and every partner checks."""

from pharmonia.secagg.header import RoundHeader
from pharmonia.secagg.roster import Roster


def refusal(roster: Roster, header: RoundHeader, survivors: tuple[str, ...]) -> str:
    """Why a set of survivors may not be unmasked; empty when it may.

    Enough survivors to hide among and to open every self-mask; on a ring, so few lost partners that the honest ones
    stay connected by masks that the server cannot compute.
    """
    n, n_left = len(header.contributors), len(survivors)
    if not set(survivors) <= set(header.contributors):
        return f"{sorted(set(survivors) - set(header.contributors))} did not take part"
    needed = max(roster.min_contributors, roster.share_threshold(n))
    if n_left < needed:
        return f"{n_left} of {n} partners survive; {needed} are needed"
    if header.degree < n - 1 and n - n_left + roster.n_colluders >= header.degree:
        return f"{n - n_left} partners lost and {roster.n_colluders} colluding could cut a ring of {header.degree}"
    return ""
