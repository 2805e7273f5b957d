"""Terms: names that cannot be confused, and numbers that can be kept."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from governance_cases import END, terms
from pharmonia.base.errors import TermsError
from pharmonia.governance.documents_lookalikes import require_one_script, skeleton
from pharmonia.governance.terms import Partner, ResourceKind, Role, Terms, Thresholds


def partner(partner_id: str, name: str) -> Partner:
    return Partner(id=partner_id, name=name, roles=(Role.OBSERVER,), may_export=())


def with_partner(added: Partner) -> Terms:
    first = terms()
    return replace(first, partners=tuple(sorted((*first.partners, added), key=lambda one: one.id)))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Acme Pharma", "ACME pharma"),
        ("Acme", "Acrne"),
        ("Acme", "\u0410\u0441\u043c\u0435"),  # Cyrillic
        ("Novo", "N\u00f2v\u00f3"),
        ("Lilac", "L1lac"),
        ("Lilac", "LiIac"),
        ("Bio-Tech", "Bio Tech"),
        ("Kappa", "\u039a\u03b1pp\u03b1"),  # partly Greek
        ("Acme", "\uff21\uff43\uff4d\uff45"),  # full width
    ],
)
def test_look_alikes_have_one_skeleton(first: str, second: str) -> None:
    assert skeleton(first) == skeleton(second)


@pytest.mark.parametrize(("first", "second"), [("acme", "apex"), ("org-a", "org-b"), ("p-1", "p-2"), ("Lila", "Lilax")])
def test_different_names_stay_different(first: str, second: str) -> None:
    assert skeleton(first) != skeleton(second)


@pytest.mark.parametrize("hidden", ["\u115f", "\u1160", "\u3164", "\uffa0", "\u2800", "\ufe0f", "\u034f"])
def test_a_character_that_does_not_show_is_refused_in_a_name(hidden: str) -> None:
    with pytest.raises(TermsError):
        partner("zeta", f"Acme Pharma{hidden}")


def test_no_partner_has_the_server_s_own_name() -> None:
    with pytest.raises(TermsError, match="names the server"):
        partner("server", "Servers Ltd")


@pytest.mark.parametrize(
    ("partner_id", "name"),
    [
        ("acrne", "Some Other"),
        ("zeta", "ACME PHARMA"),
        ("zeta", "acme"),
        ("zeta", "\u0410\u0441\u043c\u0435"),
        ("acm3", "Zeta"),
    ],
)
def test_look_alike_partners_are_refused(partner_id: str, name: str) -> None:
    with pytest.raises(TermsError, match=r"could be taken for .*acm[e3].*; rename one of them"):
        with_partner(partner(partner_id, name))


def test_duplicate_partners_are_refused() -> None:
    with pytest.raises(TermsError, match="each once and in order"):
        with_partner(partner("acme", "Acme Pharma"))


@pytest.mark.parametrize(
    "partner_id", ["Acme", "acm\u0435", "1acme", "acme-", "ac--me", "acme corp", "", "a" * 33, "acme\n", "acme\u200b"]
)
def test_ids_are_plain_ascii(partner_id: str) -> None:
    with pytest.raises(TermsError, match="a partner's id: expected"):
        partner(partner_id, "Zeta")


@pytest.mark.parametrize(
    "name", ["", " Zeta", "Ze  ta", "Zeta\n", "Ze\u202eat", "Zeta\u200d", "Ze\u0301ta", "Z" * 81, "Z\u0435ta", "\ud800"]
)
def test_names_that_could_deceive_are_refused(name: str) -> None:
    with pytest.raises(TermsError):
        partner("zeta", name)


def test_names_may_be_in_any_script() -> None:
    latin, japanese = "Soci\u00e9t\u00e9 Zeta", "\u682a\u5f0f\u4f1a\u793e"
    cyrillic, greek = "\u0417\u0435\u0442\u0430 GmbH", "\u0396\u03ae\u03c4\u03b1"
    for name in (latin, japanese, cyrillic, greek):
        require_one_script(name, "a name")
        partner("zeta", name)


BAD_TERMS: list[Callable[[], Terms]] = [
    lambda: replace(terms(), thresholds=Thresholds(agreement=2, plan=2, checkpoint=1)),
    lambda: replace(terms(), thresholds=Thresholds(agreement=5, plan=2, checkpoint=1)),
    lambda: replace(terms(), thresholds=Thresholds(agreement=3, plan=1, checkpoint=1)),
    lambda: replace(terms(), thresholds=Thresholds(agreement=3, plan=2, checkpoint=0)),
    lambda: replace(terms(), min_cohort=1),
    lambda: replace(terms(), min_cohort=4),
    lambda: replace(terms(), metrics=()),
    lambda: replace(terms(), metrics=("mse", "ci")),
    lambda: replace(terms(), trunk_recipients=("nobody",)),
    lambda: replace(terms(), partners=terms().partners[1:]),
    lambda: replace(terms(), partners=terms().partners[:3]),
    lambda: replace(terms(), purpose="two\nlines"),
    lambda: replace(terms(), valid_until=END.replace(tzinfo=None)),
    lambda: replace(terms(), valid_until=END.replace(microsecond=1)),
    lambda: replace(terms(), plan_rules=replace(terms().plan_rules, n_colluders=1)),
    lambda: replace(terms(), plan_rules=replace(terms().plan_rules, secure_aggregation=False, n_colluders=1)),
]


@pytest.mark.parametrize("bad", BAD_TERMS)
def test_terms_that_nobody_could_keep_are_refused(bad: Callable[[], Terms]) -> None:
    with pytest.raises(TermsError):
        bad().require_complete()


def test_heads_and_data_sets_are_in_nobodys_export() -> None:
    for kind in (ResourceKind.DATASET, ResourceKind.PRIVATE_HEAD):
        with pytest.raises(TermsError, match="a private head is exported by nobody"):
            replace(terms().partners[0], may_export=(kind,))
