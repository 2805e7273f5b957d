"""Secure sums in runs: what a party refuses before anything leaves it, and what the coordinator cannot read."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from pharmonia.base.errors import (
    HeaderError,
    KeyExchangeError,
    MessageError,
    PharmoniaError,
    ReplayError,
    RosterError,
    UpdateError,
)
from pharmonia.engines.inprocess import InProcessEngine
from pharmonia.learn.contributions import Contribution, federated_average
from pharmonia.learn.messages import Done, Message, Repeat, SessionRequest, StatisticsRequest, decode, encode
from pharmonia.run.cohorts import STATISTICS
from pharmonia.run.engine import Arrived, Exchange, OnReply
from pharmonia.run.protection import RECORD_FILE, Masked, SecureTerms, Work
from pharmonia.run.sums import Request, SecureSums
from pharmonia.secagg.header import Layout, RoundHeader, Tier
from pharmonia.secagg.keys import IdentityKey
from pharmonia.secagg.messages import KeyOffers, MaskedUpdate
from pharmonia.secagg.messages import decode as decode_secure
from pharmonia.secagg.messages import encode as encode_secure
from pharmonia.secagg.records import MaskRecord
from pharmonia.secagg.roster import KeyOffer, Member, sorted_ids

LAYOUT = Layout(names=("wide", "one"), lengths=(400, 1))
NAMES = ("Ada", "Ben", "Cleo", "Dan")


class Vault:
    """A party reduced to its protection: it contributes the same vector whenever it is asked."""

    def __init__(self, protection: Masked, contribution: Contribution) -> None:
        self.protection = protection
        self.contribution = contribution
        self.n_made = 0
        self.answers: list[bytes] = []

    def handle(self, frame: bytes) -> bytes:
        self.answers.append(self._answer(frame))
        return self.answers[-1]

    def _answer(self, frame: bytes) -> bytes:
        if frame[:4] != b"PHM1":
            return self.protection.answer(decode_secure(frame))
        match decode(frame):
            case SessionRequest() as request:
                return self.protection.start_session(request)
            case Repeat() as request:
                return self.protection.repeat(request)
            case StatisticsRequest(sum_index=index, magnitudes=magnitudes):
                work = Work(
                    place=STATISTICS,
                    sum_index=index,
                    magnitudes=magnitudes,
                    layout=LAYOUT,
                    model_digest=bytes(32),
                    make=self._make,
                )
                return self.protection.announce(work)
            case message:
                raise MessageError(f"{message}")

    def _make(self) -> Contribution:
        self.n_made += 1
        return self.contribution


class Tampering:
    """A server or network that changes frames on their way."""

    def __init__(self, vaults: dict[str, Vault]) -> None:
        self.vaults = vaults
        self.change: Callable[[str, bytes], bytes] = lambda _, frame: frame
        self.sent: list[bytes] = []

    @property
    def partners(self) -> tuple[str, ...]:
        return tuple(self.vaults)

    def carry(self, frames: Mapping[str, bytes], on_reply: OnReply) -> Exchange:
        self.sent += dict.fromkeys(frames.values())
        for name, frame in frames.items():
            on_reply(name, Arrived(self.vaults[name].handle(self.change(name, frame))))
        return Exchange(replies=(), bytes_to_partners=0, bytes_from_partners=0, wall_s=0.0, cpu_s=0.0)


def contribution(seed: int, scale: float = 1e-3, weight: int | None = None) -> Contribution:
    rng = np.random.default_rng(seed)
    values = np.append(rng.normal(scale=scale, size=400), 7.5).astype(np.float32)
    return Contribution(weight=100 + seed if weight is None else weight, values=values)


def members_of(identities: dict[str, IdentityKey]) -> tuple[Member, ...]:
    return tuple(Member(id=name, identity=identities[name].public) for name in sorted_ids(list(identities)))


def consortium(folder: Path, *, n_colluders: int = 1, scale: float = 1e-3) -> tuple[Tampering, SecureSums]:
    identities = {name: IdentityKey.generate() for name in NAMES}
    members = members_of(identities)
    vaults = {}
    for index, name in enumerate(NAMES):
        terms = SecureTerms(
            partner=name,
            identity=identities[name],
            members=members,
            n_colluders=n_colluders,
            ring_degree=4,
            tier=Tier.COMMIT_THEN_MASK,
        )
        vaults[name] = Vault(Masked(terms, folder / name), contribution(index, scale))
    engine = Tampering(vaults)
    return engine, SecureSums(engine, members, n_colluders=n_colluders, ring_degree=4)


REQUEST = Request(
    frame_of=lambda index, magnitudes: StatisticsRequest(sum_index=index, magnitudes=magnitudes),
    layout=LAYOUT,
    model_digest=bytes(32),
)


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1.0, 1e4])
def test_a_secure_mean_is_the_plain_one_whatever_the_scale(tmp_path: Path, scale: float) -> None:
    engine, sums = consortium(tmp_path, scale=scale)
    sums.start()
    found = sums.collect(REQUEST)
    contributions = [vault.contribution for vault in engine.vaults.values()]
    exact = federated_average(contributions)
    assert found.n_clipped == 0
    assert found.total_weight == sum(one.weight for one in contributions)
    sizes = np.array([np.abs(one.values.astype(np.float64)) * one.weight for one in contributions])
    magnitude = sizes.sum(axis=0) / found.total_weight
    for part in (slice(0, 400), slice(400, 401)):
        peak = np.abs(exact[part]).max()
        bound = 2.0**-18 * peak + 2.0**-24 * magnitude[part]
        assert (np.abs(found.mean - exact)[part] <= bound).all()


def test_a_clipped_sum_is_made_again_on_a_coarser_grid_without_training_again(tmp_path: Path) -> None:
    engine, sums = consortium(tmp_path)
    sums.start()
    sums.collect(REQUEST)
    for index, vault in enumerate(engine.vaults.values()):
        vault.contribution = contribution(index + 9, scale=1e3, weight=50)
    n_made = [vault.n_made for vault in engine.vaults.values()]
    found = sums.collect(REQUEST)
    assert found.n_clipped == 0
    exact = federated_average([vault.contribution for vault in engine.vaults.values()])
    assert np.abs(found.mean - exact)[:400].max() < 2.0**-18 * np.abs(exact[:400]).max()
    assert abs(found.mean[400] - exact[400]) < 2.0**-18 * exact[400]
    assert [vault.n_made for vault in engine.vaults.values()] == [n + 1 for n in n_made]
    assert any(isinstance(decode(frame), Repeat) for frame in engine.sent[-6:] if frame[:4] == b"PHM1")


def test_a_mean_does_not_depend_on_masks_or_session(tmp_path: Path) -> None:
    """Two consortia of other keys, and a second session of the first at its scales, sum bit for bit alike."""
    first_engine, first = consortium(tmp_path / "first")
    _, second = consortium(tmp_path / "second")
    first.start()
    second.start()
    mean = first.collect(REQUEST).mean
    np.testing.assert_array_equal(mean, second.collect(REQUEST).mean)
    again = SecureSums(first_engine, members(first_engine), n_colluders=1, ring_degree=4)
    again.start()
    again.restore(first.scales)
    np.testing.assert_array_equal(again.collect(REQUEST).mean, mean)


def members(engine: Tampering) -> tuple[Member, ...]:
    return next(iter(engine.vaults.values())).protection.members


def masked_answers(engine: Tampering) -> int:
    """How many masked updates have left any party."""
    answers = [answer for vault in engine.vaults.values() for answer in vault.answers]
    return sum(isinstance(decode_secure(a), MaskedUpdate) for a in answers if a[:4] != b"PHM1")


def swapped_key(name: str, frame: bytes) -> bytes:
    """The server puts a key of its own in Ben's place, for Ada to mask against."""
    if name != "Ada" or frame[:4] == b"PHM1" or not isinstance(message := decode_secure(frame), KeyOffers):
        return frame
    offers = [
        KeyOffer(partner=o.partner, public=bytes(reversed(o.public)), signature=o.signature)
        if o.partner == "Ben"
        else o
        for o in message.offers
    ]
    return encode_secure(KeyOffers(offers=tuple(offers)))


def fewer_contributors(name: str, frame: bytes) -> bytes:
    """The server names two contributors, of whom one helps it."""
    header = header_in(frame)
    if header is None:
        return frame
    return encode_secure(changed(header, contributors=("Ada", "Ben"), degree=1))


def stranger(name: str, frame: bytes) -> bytes:
    """The server names somebody whom the terms do not."""
    header = header_in(frame)
    return frame if header is None else encode_secure(changed(header, contributors=("Ada", "Ben", "Cleo", "Eve")))


def other_model(name: str, frame: bytes) -> bytes:
    """The header is for another model than was broadcast."""
    header = header_in(frame)
    return frame if header is None else encode_secure(changed(header, model_digest=bytes(31) + b"\x01"))


def header_in(frame: bytes) -> RoundHeader | None:
    if frame[:4] == b"PHM1":
        return None
    message = decode_secure(frame)
    return message if isinstance(message, RoundHeader) else None


def changed(header: RoundHeader, **fields: object) -> RoundHeader:
    return dataclasses.replace(header, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("attack", "error"),
    [
        (swapped_key, KeyExchangeError),
        (fewer_contributors, HeaderError),
        (stranger, HeaderError),
        (other_model, HeaderError),
    ],
)
def test_a_broken_server_is_refused_before_anything_leaves(
    tmp_path: Path, attack: Callable[[str, bytes], bytes], error: type[PharmoniaError]
) -> None:
    engine, sums = consortium(tmp_path)
    engine.change = attack
    with pytest.raises(error):
        start_and_sum(sums)
    assert masked_answers(engine) == 0
    assert all(vault.n_made == 0 for vault in engine.vaults.values())  # not even a step was wasted
    engine.change = lambda _, frame: frame
    sums.start()  # the parties are whole: with an honest server the run goes on
    assert sums.collect(REQUEST).n_clipped == 0


def start_and_sum(sums: SecureSums) -> None:
    sums.start()
    sums.collect(REQUEST)


def test_a_replayed_header_is_refused(tmp_path: Path) -> None:
    engine, sums = consortium(tmp_path)
    sums.start()
    sums.collect(REQUEST)
    n_left = masked_answers(engine)
    header = next(frame for frame in reversed(engine.sent) if header_in(frame))
    for vault in engine.vaults.values():
        with pytest.raises(ReplayError):
            vault.handle(header)
    assert masked_answers(engine) == n_left


def test_a_session_is_used_once(tmp_path: Path) -> None:
    engine, sums = consortium(tmp_path)
    sums.start()
    request = next(frame for frame in engine.sent if frame[:4] == b"PHM1")
    with pytest.raises(MessageError, match="begun before"):
        engine.vaults["Ada"].handle(request)


@pytest.mark.parametrize(
    "message",
    [StatisticsRequest(sum_index=0, magnitudes=False), Repeat(sum_index=0, magnitudes=False)],
    ids=lambda message: type(message).__name__,
)
def test_nothing_is_contributed_outside_a_session(tmp_path: Path, message: Message) -> None:
    engine, _ = consortium(tmp_path)
    with pytest.raises(MessageError):
        engine.vaults["Ada"].handle(encode(message))
    assert engine.vaults["Ada"].n_made == 0


def test_messages_out_of_order_are_refused(tmp_path: Path) -> None:
    engine, sums = consortium(tmp_path)
    ada = engine.vaults["Ada"]
    with pytest.raises(MessageError, match="no session was begun"):
        ada.handle(encode_secure(KeyOffers(offers=())))
    sums.start()
    with pytest.raises(MessageError, match="summed again"):
        ada.handle(encode(Repeat(sum_index=1, magnitudes=False)))
    with pytest.raises(MessageError, match="nothing was contributed yet"):
        _ = ada.protection.last
    sums.collect(REQUEST)
    offer = next(a for a in ada.answers if a[:4] != b"PHM1" and isinstance(decode_secure(a), KeyOffer))
    with pytest.raises(MessageError, match="does not send KeyOffer"):
        ada.handle(offer)


def test_the_record_of_a_mask_is_on_disk_before_the_update_leaves(tmp_path: Path) -> None:
    _, sums = consortium(tmp_path)
    start_and_sum(sums)
    for name in NAMES:
        record = MaskRecord.from_bytes((tmp_path / name / RECORD_FILE).read_bytes())
        assert record.round_index == 1  # the first was of magnitudes


def test_a_disk_that_is_full_keeps_the_update_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, sums = consortium(tmp_path)
    sums.start()

    def full(path: Path, content: bytes) -> None:
        raise UpdateError("no space left")

    monkeypatch.setattr("pharmonia.run.protection.write_private", full)
    with pytest.raises(UpdateError):
        sums.collect(REQUEST)
    assert masked_answers(engine) == 0


def test_training_that_fails_leaves_nothing_and_the_party_whole(tmp_path: Path) -> None:
    engine, sums = consortium(tmp_path)
    sums.start()
    ben = engine.vaults["Ben"]
    good = ben.contribution

    def diverged() -> Contribution:
        raise UpdateError("training diverged")

    ben._make = diverged  # type: ignore[method-assign]
    with pytest.raises(UpdateError, match="diverged"):
        sums.collect(REQUEST)
    assert not any(isinstance(decode_secure(a), MaskedUpdate) for a in ben.answers if a[:4] != b"PHM1")
    ben._make = lambda: good  # type: ignore[method-assign]
    sums.start()
    assert sums.collect(REQUEST).n_clipped == 0


def test_a_sum_without_a_session_or_with_foreign_answers_is_refused(tmp_path: Path) -> None:
    engine, sums = consortium(tmp_path)
    with pytest.raises(MessageError, match="not open"):
        sums.collect(REQUEST)

    class Mute:
        def handle(self, frame: bytes) -> bytes:
            return encode(Done())

    silent = SecureSums(
        InProcessEngine({name: Mute() for name in NAMES}), members(engine), n_colluders=1, ring_degree=4
    )
    with pytest.raises(MessageError):
        silent.start()


def test_terms_that_protect_nobody_are_refused(tmp_path: Path) -> None:
    engine, _ = consortium(tmp_path)
    sums = SecureSums(engine, members(engine), n_colluders=3, ring_degree=4)
    with pytest.raises(RosterError):
        sums.start()
