"""Papers in plain language made from the terms: a starting point for the partners' lawyers, not legal advice."""

from collections.abc import Mapping, Sequence

from pharmonia.governance.documents import time_text
from pharmonia.governance.permissions import TABLE
from pharmonia.governance.terms import Action, Credit, ResourceKind, Role, Terms

NOTICE = "> Starting point for lawyers, made by Pharmonia from the terms. It is not legal advice and binds nobody.\n"

_DUTIES: Mapping[Role, tuple[str, ...]] = {
    Role.DATA_OWNER: (
        "has the right to use its data for the purpose, and prepares them by the common recipe",
        "keeps its data, its private head and its keys at home",
        "reads every plan before approving it, and keeps its own policy up to date",
        "keeps its copy of the ledger and cross-signs checkpoints",
    ),
    Role.COORDINATOR: (
        "runs the server, and asks for nothing but what the approved plan names",
        "writes every step to the ledger and hands a copy to every partner",
        "tells all partners of an incident within the time agreed on",
    ),
    Role.MODEL_DEVELOPER: (
        "proposes plans and says what they are for",
        "hands in code that can be reviewed and rebuilt, and names its digest in the plan",
    ),
    Role.AUDITOR: (
        "verifies the ledger against the agreement, offline and on its own machine",
        "reports to all partners alike, and keeps what it learns to itself",
    ),
    Role.OBSERVER: ("reads reports, and keeps them to itself",),
}
_CREDIT: Mapping[Credit, str] = {
    Credit.EQUAL: "Every data owner is credited alike.",
    Credit.ROWS: "Data owners are credited in proportion to the rows that they trained with.",
    Credit.GAIN: "Data owners are credited by how much the others' gain falls without them.",
}


def template_pack(terms: Terms) -> dict[str, str]:
    """Markdown texts by file name: roles, data sharing, responsibilities and incident contacts."""
    return {
        "roles-matrix.md": _roles_matrix(terms),
        "data-sharing-terms.md": _data_sharing(terms),
        "responsibilities.md": _responsibilities(terms),
        "incident-contacts.md": _contacts(terms),
    }


def _page(title: str, *parts: str) -> str:
    return "\n".join([f"# {title}\n", NOTICE, *parts])


def _table(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [headings, ("---",) * len(headings), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |\n" for line in lines)


def _roles_matrix(terms: Terms) -> str:
    headings = ("Partner", *(role.value.replace("-", " ") for role in Role), "may export")
    rows = [
        (
            partner.name,
            *("yes" if role in partner.roles else "" for role in Role),
            ", ".join(partner.may_export) or "nothing",
        )
        for partner in terms.partners
    ]
    rights = [(kind.value, *(TABLE[kind, action].value for action in Action)) for kind in ResourceKind]
    return _page(
        f"{terms.title}: roles and rights",
        _table(headings, rows),
        "Who may do what; each data owner's own policy can narrow this further:\n",
        _table(("", *(action.value for action in Action)), rights),
    )


def _data_sharing(terms: Terms) -> str:
    rules = terms.plan_rules
    names = {partner.id: partner.name for partner in terms.partners}
    recipients = ", ".join(names[one] for one in terms.trunk_recipients) or "nobody"
    budget = rules.privacy_budget
    privacy = f"epsilon {budget.epsilon}, delta {budget.delta}" if budget else "none agreed"
    clauses = [
        f"**Parties.** {', '.join(names.values())}.",
        f"**Purpose.** {terms.purpose}",
        f"**Term.** Until {time_text(terms.valid_until)}, or until amended.",
        "**Data stay.** Each data owner's compounds, measurements and private head stay on its own premises.",
        "**What leaves.** "
        + ("Only sums over partners, by secure aggregation." if rules.secure_aggregation else "Model updates.")
        + f" No plan runs with fewer than {terms.min_cohort} data owners. Privacy budget per run: {privacy}.",
        f"**Results.** The shared trunk goes to: {recipients}. May be published: "
        f"{', '.join(terms.publishable) or 'nothing'}.",
        f"**Approval.** A plan takes {terms.thresholds.plan} of {len(terms.data_owners)} data owners, and each that "
        f"takes part; this agreement is changed by {terms.thresholds.agreement} of {len(terms.deciding)} deciding "
        "partners.",
        "**Withdrawal.** A data owner may narrow or revoke its policy at any time, with effect before the next round. "
        "Results made before that remain as agreed. _To be settled: models already delivered._",
        f"**Credit.** {_CREDIT[terms.credit]}",
        "**To be settled by lawyers.** Intellectual property in models, liability, governing law, export control, "
        "personal data if any, and what happens to the ledger at the end.",
    ]
    numbered = "".join(f"{number}. {clause}\n" for number, clause in enumerate(clauses, 1))
    return _page(f"{terms.title}: data-sharing terms, skeleton", numbered)


def _responsibilities(terms: Terms) -> str:
    parts = []
    for role in Role:
        holders = [partner.name for partner in terms.partners if role in partner.roles]
        duties = "".join(f"- {duty}\n" for duty in _DUTIES[role])
        parts.append(
            f"## {role.value.replace('-', ' ').capitalize()}: {', '.join(holders) or 'nobody yet'}\n\n{duties}"
        )
    return _page(f"{terms.title}: responsibilities", *parts)


def _contacts(terms: Terms) -> str:
    rows = [(partner.name, "", "", "") for partner in terms.partners]
    steps = (
        "1. Tell the coordinator and your own security contact.",
        "2. Revoke: your own policy at once; a key by a new version of the agreement.",
        "3. Keep your copy of the ledger and its last checkpoint.",
        "4. Run `pharmonia verify` and send its output to all partners.",
    )
    return _page(
        f"{terms.title}: incident contacts",
        _table(("Partner", "Name", "Telephone, day and night", "Mail"), rows),
        "What to do, in this order:\n",
        "\n".join(steps) + "\n",
    )
