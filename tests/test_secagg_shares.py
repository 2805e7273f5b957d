"""Shamir shares: any t give the secret back, fewer say nothing."""

import itertools
import secrets

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pharmonia.base.errors import MessageError
from pharmonia.secagg import shamir
from pharmonia.secagg.shamir import PRIME, combine, lagrange_weights, split
from pharmonia.secagg.streams import Stream


@settings(max_examples=50)
@given(secret=st.binary(min_size=32, max_size=32), n=st.integers(1, 12), data=st.data())
def test_any_t_shares_give_the_secret_back(secret: bytes, n: int, data: st.DataObject) -> None:
    threshold = data.draw(st.integers(1, n))
    points = tuple(data.draw(st.permutations(range(1, n + 1)))[:threshold])
    shares = split(secret, threshold, n)
    assert {len(share) for share in shares} == {33}
    assert combine({x: shares[x - 1] for x in points}, lagrange_weights(points)) == secret


def test_the_extreme_secrets_fit() -> None:
    for secret in (bytes(32), b"\xff" * 32):
        shares = split(secret, 2, 3)
        assert combine({1: shares[0], 3: shares[2]}, lagrange_weights((1, 3))) == secret


def test_worked_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """f(x) = 5 + 7 x."""
    monkeypatch.setattr(secrets, "randbelow", lambda _: 7)
    shares = split((5).to_bytes(32, "little"), 2, 3)
    assert [int.from_bytes(share, "little") for share in shares] == [12, 19, 26]


def test_fewer_shares_than_the_threshold_say_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a field of 13 elements, counted out: with t = 3, any two shares occur equally often for every secret."""
    monkeypatch.setattr(shamir, "PRIME", 13)
    seen: dict[int, dict[tuple[int, int], int]] = {}
    for secret in range(13):
        tally: dict[tuple[int, int], int] = {}
        for a, b in itertools.product(range(13), repeat=2):
            pair = (shamir._evaluate([a, b, secret], 1), shamir._evaluate([a, b, secret], 2))
            tally[pair] = tally.get(pair, 0) + 1
        seen[secret] = tally
    assert all(tally == seen[0] for tally in seen.values())
    assert set(seen[0].values()) == {1}


def test_coefficients_are_drawn_from_the_operating_system() -> None:
    assert split(bytes(32), 2, 2) != split(bytes(32), 2, 2)


def test_the_field_is_prime_and_above_every_secret() -> None:
    """Miller-Rabin to 64 fixed bases."""
    d, r = PRIME - 1, 0
    while d % 2 == 0:
        d, r = d // 2, r + 1
    for base in range(2, 66):
        x = pow(base, d, PRIME)
        assert x in (1, PRIME - 1) or any((x := x * x % PRIME) == PRIME - 1 for _ in range(r - 1))
    assert PRIME > 2**256


def test_numbers_that_are_no_secret_are_refused() -> None:
    with pytest.raises(MessageError, match="do not belong to one secret"):
        combine({1: (PRIME - 1).to_bytes(33, "little")}, (1,))


def test_stream_keys_have_sixteen_bytes() -> None:
    with pytest.raises(MessageError, match="16 bytes, got 3"):
        Stream(b"abc", is_added=True)
