"""Plans as files and back."""

from pharmonia.base.canonical import Json
from pharmonia.governance.documents import Fields, parse, render, require_same
from pharmonia.governance.documents_signed import signatures_json, take_signatures
from pharmonia.governance.plan import (
    FORMAT,
    Delivery,
    PlanDataset,
    RunPlan,
    SecureTerms,
    Setting,
    SignedPlan,
    Tier,
    plan_json,
)
from pharmonia.governance.terms import CodeIdentity, ResourceKind
from pharmonia.governance.terms_codec import take_budget


def encode_plan(signed: SignedPlan) -> bytes:
    """The plan's file."""
    return render(_document(signed))


def _document(signed: SignedPlan) -> Json:
    return {"format": FORMAT, "body": plan_json(signed.plan), "signatures": signatures_json(signed.signatures)}


def decode_plan(content: bytes, where: str) -> SignedPlan:
    """The plan in a file; `check_plan` says whether it may run.

    Raises:
        DocumentError: Not byte for byte what was written.
        TermsError: A plan that nobody could run.
    """
    fields = parse(content, FORMAT, where)
    signed = SignedPlan(plan=_take_plan(fields.inner("body")), signatures=take_signatures(fields))
    fields.done()
    require_same(content, _document(signed), where)
    return signed


def _take_plan(fields: Fields) -> RunPlan:
    plan = RunPlan(
        consortium=fields.text("consortium"),
        agreement_version=fields.integer("agreement_version"),
        agreement=fields.text("agreement"),
        name=fields.text("name"),
        version=fields.integer("version"),
        valid_until=fields.time("valid_until"),
        coordinator=fields.text("coordinator"),
        datasets=tuple(_dataset(inner) for inner in fields.inners("datasets")),
        recipe=fields.text("recipe"),
        reference_set=None if fields.is_null("reference_set") else fields.text("reference_set"),
        model=fields.text("model"),
        model_settings=_settings(fields.inner("model_settings")),
        method=fields.text("method"),
        method_settings=_settings(fields.inner("method_settings")),
        n_rounds=fields.integer("n_rounds"),
        seed=fields.integer("seed"),
        aggregation=_terms(fields.inner("aggregation")),
        privacy_budget=take_budget(fields, "privacy_budget"),
        code=None if fields.is_null("code") else _code(fields.inner("code")),
        metrics=fields.texts("metrics"),
        deliveries=tuple(_delivery(inner) for inner in fields.inners("deliveries")),
    )
    fields.done()
    return plan


def _dataset(fields: Fields) -> PlanDataset:
    dataset = PlanDataset(partner=fields.text("partner"), commitment=fields.text("commitment"))
    fields.done()
    return dataset


def _settings(fields: Fields) -> tuple[Setting, ...]:
    return tuple(Setting(name=name, value=fields.scalar(name)) for name in sorted(fields.names()))


def _terms(fields: Fields) -> SecureTerms:
    terms = SecureTerms(
        required=fields.flag("required"),
        n_colluders=fields.integer("n_colluders"),
        ring_degree=fields.integer("ring_degree"),
        tier=fields.choice("tier", Tier),
        weight_bits=fields.integer("weight_bits"),
    )
    fields.done()
    return terms


def _code(fields: Fields) -> CodeIdentity:
    code = CodeIdentity(package=fields.text("package"), environment=fields.text("environment"))
    fields.done()
    return code


def _delivery(fields: Fields) -> Delivery:
    delivery = Delivery(what=fields.choice("what", ResourceKind), partners=fields.texts("partners"))
    fields.done()
    return delivery
