"""Terms as JSON and back; hand-written TOML has the same names."""

from pharmonia.base.canonical import Json
from pharmonia.governance.documents import Fields, time_text
from pharmonia.governance.terms import (
    Credit,
    Partner,
    PlanRules,
    PrivacyBudget,
    ResourceKind,
    Role,
    Terms,
    Thresholds,
)


def terms_json(terms: Terms) -> Json:
    """Terms as a document holds them."""
    return {
        "consortium": terms.consortium,
        "title": terms.title,
        "purpose": terms.purpose,
        "valid_until": time_text(terms.valid_until),
        "thresholds": {
            "agreement": terms.thresholds.agreement,
            "plan": terms.thresholds.plan,
            "checkpoint": terms.thresholds.checkpoint,
        },
        "min_cohort": terms.min_cohort,
        "plan_rules": _rules_json(terms.plan_rules),
        "trunk_recipients": list(terms.trunk_recipients),
        "publishable": [kind.value for kind in terms.publishable],
        "metrics": list(terms.metrics),
        "credit": terms.credit.value,
        "partners": [partner_json(partner) for partner in terms.partners],
    }


def partner_json(partner: Partner) -> Json:
    """A partner as documents hold it."""
    return {
        "id": partner.id,
        "name": partner.name,
        "roles": [role.value for role in partner.roles],
        "may_export": [kind.value for kind in partner.may_export],
    }


def _rules_json(rules: PlanRules) -> Json:
    return {
        "secure_aggregation": rules.secure_aggregation,
        "n_colluders": rules.n_colluders,
        "privacy_budget": budget_json(rules.privacy_budget),
        "code_digest": rules.code_digest,
    }


def budget_json(budget: PrivacyBudget | None) -> Json:
    """A privacy budget as documents hold it."""
    return None if budget is None else {"epsilon": float(budget.epsilon), "delta": float(budget.delta)}


def take_terms(fields: Fields) -> Terms:
    """Terms from a document.

    Raises:
        DocumentError: A field of a signed document is missing, strange or of another type.
        TermsError: The same in hand-written terms, or terms that nobody could keep.
    """
    terms = Terms(
        consortium=fields.text("consortium"),
        title=fields.text("title"),
        purpose=fields.text("purpose"),
        valid_until=fields.time("valid_until"),
        thresholds=_thresholds(fields.inner("thresholds")),
        min_cohort=fields.integer("min_cohort"),
        plan_rules=_rules(fields.inner("plan_rules")),
        trunk_recipients=fields.texts("trunk_recipients"),
        publishable=fields.choices("publishable", ResourceKind),
        metrics=fields.texts("metrics"),
        credit=fields.choice("credit", Credit),
        partners=tuple(take_partner(inner) for inner in fields.inners("partners")),
    )
    fields.done()
    return terms


def _thresholds(fields: Fields) -> Thresholds:
    thresholds = Thresholds(
        agreement=fields.integer("agreement"), plan=fields.integer("plan"), checkpoint=fields.integer("checkpoint")
    )
    fields.done()
    return thresholds


def _rules(fields: Fields) -> PlanRules:
    rules = PlanRules(
        secure_aggregation=fields.flag("secure_aggregation"),
        n_colluders=fields.integer("n_colluders"),
        privacy_budget=take_budget(fields, "privacy_budget"),
        code_digest=fields.flag("code_digest"),
    )
    fields.done()
    return rules


def take_budget(fields: Fields, name: str) -> PrivacyBudget | None:
    """A privacy budget, or that there is none.

    Raises:
        TermsError: One that cannot be.
    """
    if fields.is_null(name):
        return None
    inner = fields.inner(name)
    budget = PrivacyBudget(epsilon=inner.number("epsilon"), delta=inner.number("delta"))
    inner.done()
    return budget


def take_partner(fields: Fields) -> Partner:
    """A partner from a document.

    Raises:
        TermsError: One that cannot be.
    """
    partner = Partner(
        id=fields.text("id"),
        name=fields.text("name"),
        roles=fields.choices("roles", Role),
        may_export=fields.choices("may_export", ResourceKind),
    )
    fields.done()
    return partner
