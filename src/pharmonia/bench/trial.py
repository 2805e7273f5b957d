"""A trial consortium: every organisation's folder made on one machine, with its own keys, papers and share of the data.

Between companies each partner makes its own folder. Here all of them lie side by side, so that a run between real
processes can be tried before anybody else is asked.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from pharmonia.base.errors import OptionError
from pharmonia.bench.planned import PlanHead, draft_plan, n_colluders
from pharmonia.bench.settings import ComparisonSettings
from pharmonia.bench.sites import share_to_sites, write_coordinator
from pharmonia.governance.agreement import Agreement, KeyState, PartnerKey
from pharmonia.governance.agreement_history import AgreementHistory, propose, sign_proposed
from pharmonia.governance.documents import whole_second
from pharmonia.governance.identity import PrivateKey
from pharmonia.governance.plan import RunPlan, SignedPlan, Tier, approve
from pharmonia.governance.policy import open_policy, sign_policy
from pharmonia.governance.terms import Credit, Partner, PlanRules, ResourceKind, Role, Terms, Thresholds
from pharmonia.run.codedigest import installed_code
from pharmonia.run.documents import write_agreement, write_plan, write_policy
from pharmonia.run.keyfiles import create_commitment_key, create_key
from pharmonia.run.site_config import read_site
from pharmonia.run.site_data import site_commitment
from pharmonia.secagg.roster import fewest_contributors

CONSORTIUM, COORDINATOR = "trial", "coordinator"
MAX_PARTNERS = 64
_LASTS = timedelta(days=365)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Papers:
    """Agreement and keys of a trial."""

    history: AgreementHistory
    agreement: Agreement
    keys: dict[str, PrivateKey]


def trial_partners(n_partners: int) -> tuple[str, ...]:
    """Ids of a trial's data owners, sorted.

    Raises:
        OptionError: Fewer than two, or more than one machine is asked to run.
    """
    if not 2 <= n_partners <= MAX_PARTNERS:
        raise OptionError(f"a trial has 2 to {MAX_PARTNERS} partners, got {n_partners}")
    return tuple(f"partner-{number:02d}" for number in range(1, n_partners + 1))


def found_trial(folder: Path, settings: ComparisonSettings, tier: Tier, now: datetime) -> RunPlan:
    """The approved plan of a new trial; FOLDER then holds one folder for each partner and one for the coordinator.

    Args:
        folder: New, or empty.
        settings: What to train, on whose shares of which data; one seed.
        tier: Whether the run waits for a lost partner.
        now: The time.

    Raises:
        OptionError: A number of partners or of seeds that a trial does not have.
        InputError: The folder cannot be written, or a key is in it already.
        PharmoniaError: The data cannot be read or shared out.
    """
    owners = trial_partners(settings.n_partners)
    share_to_sites(folder, settings, owners)
    write_coordinator(folder / COORDINATOR, COORDINATOR, 0)
    papers = _papers(folder, owners, now)
    for owner in owners:
        create_commitment_key(folder / owner / f"{owner}.key.commitment")
        policy = open_policy(papers.agreement, owner, now)
        write_policy(folder / owner / "policy.json", sign_policy(policy, papers.agreement, papers.keys[owner], now))
    plan = _plan(folder, settings, papers, owners, tier)
    signed = SignedPlan(plan=plan, signatures=())
    for owner in owners:
        signed = approve(signed, papers.agreement, papers.keys[owner], now)
    for name in (*owners, COORDINATOR):
        write_plan(folder / name / "plan.json", signed)
    return plan


def _papers(folder: Path, owners: tuple[str, ...], now: datetime) -> _Papers:
    """Everybody's key, and the agreement that all have signed, in every folder."""
    terms = _terms(owners, whole_second(now) + _LASTS)
    keys = {name: create_key(folder / name / f"{name}.key", None) for name in terms.ids}
    named = [
        PartnerKey(partner=name, public=key.public, state=KeyState.ACTIVE, valid_until=terms.valid_until)
        for name, key in keys.items()
    ]
    ordered = tuple(sorted(named, key=lambda key: (key.partner, key.public.key_id)))
    history = propose(None, Agreement(version=1, previous=None, terms=terms, keys=ordered))
    for name in terms.ids:
        history = sign_proposed(history, keys[name], now)
    for name in terms.ids:
        write_agreement(folder / name / "agreement.json", history)
    return _Papers(history=history, agreement=history.current(now), keys=keys)


def _plan(folder: Path, settings: ComparisonSettings, papers: _Papers, owners: tuple[str, ...], tier: Tier) -> RunPlan:
    commitments = {owner: site_commitment(read_site(folder / owner), CONSORTIUM) for owner in owners}
    end = papers.agreement.terms.valid_until
    head = PlanHead(name="trial", version=1, valid_until=end, coordinator=COORDINATOR, tier=tier)
    return draft_plan(settings, papers.agreement, head, commitments, installed_code())


def _terms(owners: tuple[str, ...], end: datetime) -> Terms:
    """All must sign agreement and plan, and those of a smallest cohort a checkpoint; who brings data gets the trunk."""
    least = fewest_contributors(len(owners), n_colluders(len(owners)))
    report, trunk = ResourceKind.REPORT, ResourceKind.SHARED_TRUNK
    partners = [
        Partner(id=name, name=f"Trial {name}", roles=(Role.DATA_OWNER,), may_export=(report, trunk)) for name in owners
    ]
    partners.append(Partner(id=COORDINATOR, name="Trial coordinator", roles=(Role.COORDINATOR,), may_export=()))
    return Terms(
        consortium=CONSORTIUM,
        title="Trial",
        purpose="Trying Pharmonia out on one machine.",
        valid_until=end,
        thresholds=Thresholds(agreement=len(owners) + 1, plan=len(owners), checkpoint=least + 1),
        min_cohort=least,
        plan_rules=PlanRules(
            secure_aggregation=True, n_colluders=n_colluders(len(owners)), privacy_budget=None, code_digest=True
        ),
        trunk_recipients=owners,
        publishable=(report,),
        metrics=("ci", "mse"),
        credit=Credit.GAIN,
        partners=tuple(sorted(partners, key=lambda partner: partner.id)),
    )
