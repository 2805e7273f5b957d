"""Keys and terms: swapped, forged and foreign keys are refused, and so are terms that protect nobody."""

from dataclasses import replace

import pytest

from pharmonia.base.errors import KeyExchangeError, RosterError
from pharmonia.secagg.header import Tier
from pharmonia.secagg.keys import IdentityKey, SessionKey, make_offer, pair_keys
from pharmonia.secagg.partner import open_session
from pharmonia.secagg.roster import Directory, Member, Roster
from secagg_cases import after_signing, consortium, directory_of, one_tensor, plan_of, roster_of

PLAN_B = plan_of(one_tensor(4), tier=Tier.DROPOUT_TOLERANT)
GROUP = consortium(5, n_colluders=1)
FIRST = GROUP.ids[0]


def test_a_swapped_key_is_refused() -> None:
    """A server puts its own key in a partner's place, with and without the old signature."""
    mine = SessionKey.generate()
    offers = list(GROUP.directory.offers)
    offers[1] = replace(offers[1], public=mine.public)
    with pytest.raises(KeyExchangeError, match="partner-01: the session key is not signed"):
        Directory(roster=GROUP.roster, offers=tuple(offers))
    offers[1] = replace(offers[1], signature=IdentityKey.generate().sign(b"anything"))
    with pytest.raises(KeyExchangeError, match="partner-01: the session key is not signed"):
        Directory(roster=GROUP.roster, offers=tuple(offers))


def test_an_offer_of_another_session_is_refused() -> None:
    old = consortium(5, session=bytes(32))
    roster = roster_of(old.identities, session=bytes([1]) * 32)
    with pytest.raises(KeyExchangeError, match="not signed by the pinned identity"):
        Directory(roster=roster, offers=old.directory.offers)


def test_our_own_key_cannot_be_replaced_by_an_older_one() -> None:
    other = SessionKey.generate()
    with pytest.raises(KeyExchangeError, match="does not hold our session key"):
        pair_keys(GROUP.directory, FIRST, other)


def test_an_identity_that_is_not_pinned_is_refused() -> None:
    stranger, key = IdentityKey.generate(), GROUP.keys[FIRST]
    with pytest.raises(KeyExchangeError, match="pins another identity"):
        make_offer(GROUP.roster, FIRST, stranger, key)
    with pytest.raises(KeyExchangeError, match="pins another identity"):
        open_session(partner=FIRST, identity=stranger, key=key, directory=GROUP.directory)


def test_foreign_repeated_and_missing_offers_are_refused() -> None:
    other = consortium(6)
    with pytest.raises(KeyExchangeError, match="partner-05 is not on the roster"):
        Directory(roster=GROUP.roster, offers=(*GROUP.directory.offers, other.directory.offers[5]))
    with pytest.raises(KeyExchangeError, match="one key offer per partner"):
        Directory(roster=GROUP.roster, offers=(GROUP.directory.offers[0], *GROUP.directory.offers))
    with pytest.raises(RosterError, match="2 partners offered a key; a sum takes 3"):
        Directory(roster=GROUP.roster, offers=GROUP.directory.offers[:2])


def test_a_point_of_small_order_is_refused() -> None:
    """A partner signs the zero point, with which every exchange gives the same secret."""
    evil = GROUP.identities[GROUP.ids[1]]

    class Zero:
        public = bytes(32)

    offers = list(GROUP.directory.offers)
    offers[1] = make_offer(GROUP.roster, GROUP.ids[1], evil, Zero())  # type: ignore[arg-type]
    directory = Directory(roster=GROUP.roster, offers=tuple(offers))
    with pytest.raises(KeyExchangeError, match="small order"):
        pair_keys(directory, FIRST, GROUP.keys[FIRST])


def test_other_terms_give_other_keys() -> None:
    stricter = roster_of(GROUP.identities, n_colluders=2)
    directory = directory_of(stricter, GROUP.identities, GROUP.keys)
    ours, theirs = (pair_keys(d, FIRST, GROUP.keys[FIRST]) for d in (GROUP.directory, directory))
    assert all(ours[name] != theirs[name] for name in ours)


def test_secrets_do_not_print() -> None:
    sessions, _, _ = after_signing(GROUP, PLAN_B)
    secrets = [key.hex() for key in GROUP.sessions[FIRST].pair_keys.values()]
    secrets += [repr(key) for key in GROUP.sessions[FIRST].pair_keys.values()]
    text = repr(sessions[FIRST])
    assert "partner-00" in text
    assert not any(secret in text for secret in secrets)
    assert not {"identity=", "pair_keys=", "own_share="} & set(text.replace("(", " ").replace(",", " ").split())


# Terms


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"members": GROUP.roster.members[:1]}, "2 to 255 partners"),
        ({"members": GROUP.roster.members[::-1]}, "sorted by id"),
        ({"members": (GROUP.roster.members[0], replace(GROUP.roster.members[0], id="z"))}, "its own key"),
        ({"session": b"short"}, "32 bytes"),
        ({"n_colluders": 4}, "cannot hide an update from 4"),
        ({"n_colluders": -1}, "cannot hide"),
        ({"ring_degree": 3}, "even and above 1"),
        ({"n_colluders": 2, "ring_degree": 2}, "even and above 2"),
    ],
)
def test_terms_that_protect_nobody_are_refused(changes: dict[str, object], message: str) -> None:
    fields = {name: getattr(GROUP.roster, name) for name in ("session", "members", "n_colluders", "ring_degree")}
    with pytest.raises(RosterError, match=message):
        Roster(**{**fields, **changes})


def test_members_are_checked() -> None:
    with pytest.raises(RosterError, match="printable"):
        Member(id="a\nb", identity=bytes(32))
    with pytest.raises(RosterError, match="1 to 64 bytes"):
        Member(id="", identity=bytes(32))
    with pytest.raises(RosterError, match="an identity has 32 bytes"):
        Member(id="a", identity=b"")
