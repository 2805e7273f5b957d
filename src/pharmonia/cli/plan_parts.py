"""What the commands that write plans have in common."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from pharmonia.base.errors import InputError, OptionError
from pharmonia.cli.training import TRAINING

if TYPE_CHECKING:
    from pharmonia.bench.planned import PlanHead
    from pharmonia.governance.agreement import Agreement
    from pharmonia.governance.plan import Tier

CommitmentOption = Annotated[
    list[str] | None,
    typer.Option(
        "--commitment",
        metavar="PARTNER=HEX",
        help="A data owner's, as `pharmonia plan commitment` printed it at its site; once for each.",
    ),
]


LostPartner = Annotated[
    str,
    typer.Option(
        help="When a partner is lost during the run: wait until it is back, or go-on with those who are left.",
        rich_help_panel=TRAINING,
    ),
]


def tier_named(lost_partner: str) -> "Tier":
    """The tier of secure aggregation that --lost-partner asks for.

    Raises:
        OptionError: It is neither word.
    """
    from pharmonia.governance.plan import Tier  # noqa: PLC0415

    tiers = {"wait": Tier.COMMIT_THEN_MASK, "go-on": Tier.DROPOUT_TOLERANT}
    if lost_partner not in tiers:
        raise OptionError(f"--lost-partner is wait or go-on, got {lost_partner[:100]!r}")
    return tiers[lost_partner]


def named_commitments(given: Sequence[str], agreement: "Agreement") -> dict[str, str]:
    """Commitments by partner, as options gave them.

    Raises:
        OptionError: One is not PARTNER=HEX, twice there, or of a partner that brings no data; or there are fewer
            than two.
        TermsError: One is no digest.
    """
    from pharmonia.governance.documents import require_digest  # noqa: PLC0415

    found: dict[str, str] = {}
    owners = agreement.terms.data_owners
    for text in given:
        partner, equals, digest = text.partition("=")
        if not equals or partner in found:
            raise OptionError(f"--commitment is PARTNER=HEX, once for each partner, got {text[:100]!r}")
        if partner not in owners:
            raise OptionError(f"--commitment {partner}: the data owners are {', '.join(owners)}")
        require_digest(digest, f"--commitment {partner}")
        found[partner] = digest
    if len(found) < 2:
        raise OptionError(f"a plan takes commitments of at least two data owners, got {len(found)}")
    return found


def plan_head(
    current: "Agreement",
    *,
    name: str,
    version: int,
    coordinator: str,
    days: int,
    lost_partner: str,
    now: datetime,
) -> "PlanHead":
    """What a plan says besides the training; it ends with the agreement at the latest.

    Raises:
        InputError: Days out of their range.
        OptionError: As `tier_named`.
    """
    from pharmonia.bench.planned import PlanHead  # noqa: PLC0415
    from pharmonia.governance.documents import whole_second  # noqa: PLC0415

    if not 1 <= days <= 36_500:
        raise InputError(f"--days is 1 to 36500, got {days}")
    return PlanHead(
        name=name,
        version=version,
        valid_until=min(whole_second(now) + timedelta(days=days), current.terms.valid_until),
        coordinator=coordinator,
        tier=tier_named(lost_partner),
    )
