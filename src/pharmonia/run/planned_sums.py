"""The secure sums of a plan, at the coordinator: the same in its runs and in their rehearsal."""

from collections.abc import Sequence
from pathlib import Path

from pharmonia.governance.plan import RunPlan
from pharmonia.run.cohorts import COHORTS_FILE, Cohorts
from pharmonia.run.engine import Engine
from pharmonia.run.sums import SecureSums
from pharmonia.secagg.roster import Member


def secure_sums(plan: RunPlan, engine: Engine, members: Sequence[Member], folder: Path, min_cohort: int) -> SecureSums:
    """Sums as the plan says, over an engine's partners.

    Args:
        plan: Says how many may collude, and whether a lost partner ends the run or is left out.
        engine: Reaches all partners of the plan.
        members: Those partners with their identities, sorted by id.
        folder: The run's own at the coordinator.
        min_cohort: The agreement's.
    """
    terms = plan.aggregation
    return SecureSums(
        engine,
        members,
        n_colluders=terms.n_colluders,
        ring_degree=terms.ring_degree,
        cohorts=Cohorts(folder / COHORTS_FILE) if plan.goes_on else None,
        min_cohort=min_cohort,
    )
