"""The model of a run comes to each partner that the plan names: on the ledger first, and once."""

import json
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from governance_cases import OWNERS, key_of
from pharmonia.base.errors import EngineError, MessageError, StoreError, UnreachableError
from pharmonia.engines.inprocess import InProcessEngine
from pharmonia.governance.events import Exporting, PlanRefused
from pharmonia.governance.plan import Delivery as PlanDelivery
from pharmonia.governance.terms import RefusalCode, ResourceKind
from pharmonia.governance.verify import Delivered
from pharmonia.run.arrayfile import canonical_file, read_arrays
from pharmonia.run.delivered import DeliveredModel, content_digest, read_delivered
from pharmonia.run.delivery_frames import Answer, Kept, Message, Offer, decode, encode, is_delivery_frame
from pharmonia.run.engine import FrameHandler
from pharmonia.run.ledgerfile import verify_folder
from pharmonia.run.refusals import decode_refusal
from pharmonia.run.site_config import read_coordinator
from pharmonia.run.store import RunStore
from site_cases import COORDINATOR, Consortium, fixed_code, history, opened, settings

EVERYBODY = (*OWNERS, COORDINATOR)
OTHER = "cd" * 32


@pytest.fixture(scope="module", autouse=True)
def _code() -> Iterator[None]:
    with fixed_code():
        yield


class Postbox:
    """A site whose deliveries somebody watches or stops."""

    def __init__(self, site: FrameHandler) -> None:
        self.site = site
        self.is_shut = False
        self.models: list[DeliveredModel] = []

    def handle(self, frame: bytes) -> bytes:
        if is_delivery_frame(frame):
            if self.is_shut:
                raise EngineError("the post does not come")
            message = decode(frame)
            if isinstance(message, DeliveredModel):
                self.models.append(message)
        return self.site.handle(frame)


def deliver(place: Consortium, shut: tuple[str, ...] = ()) -> dict[str, Postbox]:
    """One more run of the coordinator, with some sites that no delivery reaches."""
    with place.sites() as sites:
        boxes = {name: Postbox(site) for name, site in sites.items()}
        for name in shut:
            boxes[name].is_shut = True
        if shut:
            with pytest.raises(UnreachableError, match=f"these have not got theirs: {shut[0]}"):
                place.coordinate(InProcessEngine(boxes))
        else:
            place.coordinate(InProcessEngine(boxes))
        return boxes


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Consortium:
    """Trained, and nobody has the model yet."""
    folder = tmp_path_factory.mktemp("aurora")
    place = Consortium(folder=folder, settings=settings(rounds=1), history=history()).found()
    deliver(place, shut=OWNERS)
    return place


@pytest.fixture
def aurora(original: Consortium, tmp_path: Path) -> Consortium:
    place = original.copied(tmp_path / "aurora")
    place.at = original.at
    return place


@pytest.fixture(scope="module")
def model(original: Consortium) -> DeliveredModel:
    """What the coordinator's store holds."""
    config = read_coordinator(original.folder / COORDINATOR)
    trained = RunStore(config.store_url, config.store_folder).model(original.signed.plan.digest[:16])
    return DeliveredModel(plan=original.signed.plan.digest, best_round=0, parameters=trained.parameters)


def model_files(place: Consortium) -> dict[str, Path]:
    found = place.folder.glob("*/state/*/model.safetensors")
    return {path.parts[-4]: path for path in found}


def exports(place: Consortium, name: str = COORDINATOR) -> list[Exporting]:
    return [event for event in place.events(name) if isinstance(event, Exporting)]


def test_every_partner_that_the_plan_names_gets_the_best_round_s_model(
    aurora: Consortium, model: DeliveredModel
) -> None:
    deliver(aurora)
    files = model_files(aurora)
    assert sorted(files) == list(OWNERS)
    for path in files.values():
        found = read_delivered(path)
        np.testing.assert_array_equal(found.parameters, model.parameters)
        assert (found.plan, found.best_round, found.aggregate) == (model.plan, 0, model.aggregate)
        assert path.read_bytes() == model.file()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert (path.parent / "private.safetensors").exists()


def test_every_ledger_shows_to_whom_it_was_handed_and_verifies_the_file(
    aurora: Consortium, model: DeliveredModel
) -> None:
    deliver(aurora)
    content = content_digest(model.file())
    expected = [
        Exporting(what=ResourceKind.SHARED_TRUNK, content=content, recipient=key_of(owner).public.key_id)
        for owner in OWNERS
    ]
    delivered = Delivered(plans=(aurora.signed.plan,), model_digest=content)
    for name in EVERYBODY:
        assert exports(aurora, name) == expected
        assert verify_folder(aurora.ledger(name), aurora.history, delivered, aurora.now()).failed == ()


def test_what_was_delivered_is_not_delivered_again_and_what_was_lost_is(aurora: Consortium) -> None:
    first = deliver(aurora)
    assert [len(box.models) for box in first.values()] == [1, 1, 1]
    entries = aurora.ledger(COORDINATOR) / "entries.jsonl"
    content = entries.read_bytes()
    assert not any(box.models for box in deliver(aurora).values())
    model_files(aurora)["borealis"].unlink()
    again = deliver(aurora)
    assert {name for name, box in again.items() if box.models} == {"borealis"}
    assert sorted(model_files(aurora)) == list(OWNERS)
    assert entries.read_bytes() == content  # that borealis has it stood there already


def test_whom_the_plan_does_not_name_gets_nothing(original: Consortium, tmp_path: Path) -> None:
    place = Consortium(folder=tmp_path, settings=settings(rounds=1), history=history()).found()
    plan = place.signed.plan
    only = PlanDelivery(what=ResourceKind.SHARED_TRUNK, partners=("acme",))
    place.file(replace(plan, deliveries=(*(one for one in plan.deliveries if one.what != only.what), only)))
    boxes = deliver(place)
    assert sorted(model_files(place)) == ["acme"]
    assert [len(box.models) for box in boxes.values()] == [1, 0, 0]
    assert [one.recipient for one in exports(place, "cygnus")] == [key_of("acme").public.key_id]
    with opened(place, "borealis") as borealis:
        found = read_delivered(model_files(place)["acme"])
        for message in (offer_of(found), found):
            assert refused_with(borealis, message) == RefusalCode.NOT_RECIPIENT
    assert sorted(model_files(place)) == ["acme"]


def test_it_is_on_both_ledgers_before_it_leaves(aurora: Consortium) -> None:
    seen: list[bool] = []

    class Watched(Postbox):
        def handle(self, frame: bytes) -> bytes:
            if is_delivery_frame(frame) and isinstance(decode(frame), DeliveredModel):
                key = key_of("borealis").public.key_id
                seen.extend(exports(aurora, name)[-1].recipient == key for name in ("borealis", COORDINATOR))
            return super().handle(frame)

    with aurora.sites() as sites:
        handlers: dict[str, FrameHandler] = {**sites, "borealis": Watched(sites["borealis"])}
        aurora.coordinate(InProcessEngine(handlers))
    assert seen == [True, True]


def test_a_partner_out_of_reach_keeps_no_other_from_its_model_and_gets_it_next_time(aurora: Consortium) -> None:
    deliver(aurora, shut=("acme",))
    assert sorted(model_files(aurora)) == ["borealis", "cygnus"]
    assert aurora.verify("acme").failed == ()
    again = deliver(aurora)
    assert {name for name, box in again.items() if box.models} == {"acme"}
    assert [aurora.verify(name).failed for name in EVERYBODY] == [()] * len(EVERYBODY)


def test_a_partner_whose_folder_will_not_do_is_named_and_keeps_no_other_from_its_model(aurora: Consortium) -> None:
    for path in aurora.folder.glob("acme/state/*/private.safetensors"):
        path.unlink()
    with aurora.sites() as sites, pytest.raises(MessageError, match=r"acme \(acme: a model .* did not end here\)"):
        aurora.coordinate(InProcessEngine(sites))
    assert sorted(model_files(aurora)) == ["borealis", "cygnus"]


def test_a_partner_that_refuses_says_so_on_every_ledger_and_keeps_no_other_from_its_model(aurora: Consortium) -> None:
    aurora.at = aurora.at.replace(microsecond=0)
    aurora.revoke("acme")
    aurora.now()
    deliver(aurora)
    assert sorted(model_files(aurora)) == ["borealis", "cygnus"]
    refused = PlanRefused(plan=aurora.signed.plan.digest, code=RefusalCode.GRANT_REVOKED)
    for name in EVERYBODY:
        assert refused in aurora.events(name)
        assert aurora.verify(name).failed == ()
    (report,) = (aurora.folder / COORDINATOR).glob("store/*/deliveries.json")
    assert '"outcome":"refused","reason":"acme refuses' in report.read_text()


def scores_of(place: Consortium) -> dict[str, dict[str, Any]]:
    return {name: json.loads(path.with_name("scores.json").read_bytes()) for name, path in model_files(place).items()}


def test_each_partner_s_own_scores_make_the_run_s_validation_error_and_never_leave(
    aurora: Consortium, original: Consortium
) -> None:
    config = read_coordinator(original.folder / COORDINATOR)
    trained = RunStore(config.store_url, config.store_folder).model(original.signed.plan.digest[:16])
    deliver(aurora)
    found = [one["parts"]["valid"]["interactions"] for one in scores_of(aurora).values()]
    n_rows = sum(one["n_rows"] for one in found)
    together = sum(one["mse"] * one["n_rows"] for one in found) / n_rows
    assert together == pytest.approx(trained.selection.best_error, rel=1e-5)
    assert all(0 < one["ci"] < 1 for one in found)
    coordinators = b"".join(path.read_bytes() for path in (aurora.folder / COORDINATOR).rglob("*") if path.is_file())
    for one in found:
        assert repr(one["mse"]).encode() not in coordinators
    for path in model_files(aurora).values():
        assert stat.S_IMODE(path.with_name("scores.json").stat().st_mode) == 0o600


def test_data_damaged_since_keep_no_model_away_and_the_scores_say_why(aurora: Consortium) -> None:
    path = aurora.folder / "acme" / "data" / "valid.value.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    deliver(aurora)
    assert sorted(model_files(aurora)) == list(OWNERS)
    found = scores_of(aurora)["acme"]
    assert "valid.value.npy is damaged" in found["problem"]
    assert found["parts"] == {}


# What a site does not take


def offer_of(model: DeliveredModel) -> Offer:
    content = content_digest(model.file())
    return Offer(plan=model.plan, best_round=model.best_round, aggregate=model.aggregate, content=content)


def refused_with(site: FrameHandler, message: Message) -> RefusalCode:
    refusal = decode_refusal(site.handle(encode(message)))
    (code,) = (event.code for event in refusal.entry.events if isinstance(event, PlanRefused))
    return code


def test_a_model_that_is_not_on_our_ledger_is_not_taken(aurora: Consortium, model: DeliveredModel) -> None:
    forged = replace(model, parameters=np.nextafter(model.parameters, 1.0))
    with opened(aurora, "acme") as acme:
        for message in (forged, offer_of(forged)):
            with pytest.raises(MessageError, match="that no round of plan kinases on our ledger gave"):
                acme.handle(encode(message))
        with pytest.raises(MessageError, match="does not show handed over to us"):
            acme.handle(encode(model))
        with pytest.raises(MessageError, match="the model of round 1, but our private part is of round 0"):
            acme.handle(encode(replace(model, best_round=1)))
        assert refused_with(acme, replace(model, plan=OTHER)) == RefusalCode.PLAN_NOT_APPROVED
        for strange in (Kept(content=OTHER), Answer(is_lacking=True)):
            with pytest.raises(MessageError, match="a coordinator does not send"):
                acme.handle(encode(strange))
    assert model_files(aurora) == {}


def test_no_model_is_taken_before_the_run_has_ended_here(aurora: Consortium, model: DeliveredModel) -> None:
    for path in aurora.folder.glob("acme/state/*/private.safetensors"):
        path.unlink()
    with opened(aurora, "acme") as acme, pytest.raises(MessageError, match="did not end here"):
        acme.handle(encode(offer_of(model)))


# Frames and file


SMALL = DeliveredModel(plan="ab" * 32, best_round=3, parameters=np.array([0.5, -1.0]))
MESSAGES: tuple[Message, ...] = (SMALL, offer_of(SMALL), Answer(is_lacking=True), Kept(content=OTHER))


@pytest.mark.parametrize("message", MESSAGES)
def test_a_frame_says_what_was_sent_and_no_damaged_one_does(message: Message) -> None:
    frame = encode(message)
    assert encode(decode(frame)) == frame
    for place in range(len(frame)):
        with pytest.raises(MessageError):
            decode(frame[:place])
        with pytest.raises(MessageError):
            decode(frame[:place] + bytes([frame[place] ^ 1]) + frame[place + 1 :])
    with pytest.raises(MessageError):
        decode(frame + b"\0")


def test_a_model_is_finite_and_of_a_round_and_a_plan() -> None:
    for change in ({"parameters": np.array([np.nan])}, {"parameters": np.empty(0)}, {"best_round": -1}, {"plan": "x"}):
        with pytest.raises(MessageError):
            replace(SMALL, **change)


def test_the_file_s_bytes_are_fixed_and_are_safetensors(tmp_path: Path) -> None:
    content = SMALL.file()
    assert content_digest(content) == "9f5728fc6b7f82b395a345fd3ea176d0b0c34dc6b3280eef187a79220d9b7590"
    np.testing.assert_array_equal(safetensors.numpy.load(content)["parameters"], SMALL.parameters)
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    assert read_arrays(path)[1] == {"plan": "ab" * 32, "best_round": 3}
    for damaged in (content[:-8], content[:-1] + b"\1", canonical_file("parameters", np.ones(2), {"plan": 3})):
        path.write_bytes(damaged)
        with pytest.raises(StoreError):
            read_delivered(path)
