"""What is looked at before a run: every bad thing is one row with a reason and a remedy, and all the rest passes."""

import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from deploy_cases import make_authority, make_folder
from governance_cases import CODE, NOW, OWNERS, rotated
from pharmonia.base.errors import (
    AgreementError,
    CertificateError,
    DataFileError,
    InputError,
    KeyFileError,
    KitError,
    PharmoniaError,
    RefusedError,
    StoreError,
    UnreachableError,
)
from pharmonia.engines.inprocess import InProcessEngine
from pharmonia.governance.terms import CodeIdentity, Role
from pharmonia.run import preflight, preflight_seat, preflight_site
from pharmonia.run.documents import write_agreement, write_plan
from pharmonia.run.ledger_frames import Greeting
from pharmonia.run.preflight import (
    MAX_SKEW_S,
    Preflight,
    greeting_checks,
    machine_checks,
    read_preflight,
    write_preflight,
)
from pharmonia.run.preflight_connection import Credentials, require_connection
from pharmonia.run.preflight_seat import seat_preflight
from pharmonia.run.preflight_site import site_preflight
from pharmonia.run.remote_ledger import greet
from site_cases import COORDINATOR, Consortium, fixed_code, history, opened, settings

PLENTY = 1 << 40


@pytest.fixture(scope="module", autouse=True)
def _code() -> Iterator[None]:
    """What runs here is what the plan names, whatever is edited meanwhile."""
    with fixed_code(), pytest.MonkeyPatch.context() as patch:
        for module in (preflight_site, preflight_seat):
            patch.setattr(module, "installed_code", lambda: CODE)
        yield


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Consortium:
    return Consortium(tmp_path_factory.mktemp("preflight") / "aurora", settings(), history()).found()


@pytest.fixture
def aurora(original: Consortium, tmp_path: Path) -> Consortium:
    return original.copied(tmp_path / "aurora")


def at_site(place: Consortium, owner: str = "borealis", memory: int = PLENTY) -> Preflight:
    return site_preflight(place.folder / owner, memory, NOW)


def at_seat(place: Consortium) -> Preflight:
    return seat_preflight(place.folder / COORDINATOR, PLENTY, NOW)


def bad(found: Preflight) -> dict[str, type[PharmoniaError]]:
    return {check.what: type(check.error) for check in found.checks if check.error is not None}


def test_where_all_is_well_every_row_passes(aurora: Consortium) -> None:
    for owner in OWNERS:
        assert bad(at_site(aurora, owner)) == {}
    assert bad(at_seat(aurora)) == {}
    at_seat(aurora).require()


def test_nothing_of_the_data_is_opened(aurora: Consortium) -> None:
    for path in (aurora.folder / "borealis" / "data").glob("*.npy"):
        path.unlink()
    assert bad(at_site(aurora)) == {}


def no_key(place: Consortium) -> None:
    (place.folder / "borealis" / "borealis.key").unlink()


def others_key(place: Consortium) -> None:
    shutil.copy(place.folder / "acme" / "acme.key", place.folder / "borealis" / "borealis.key")


def revoked(place: Consortium) -> None:
    place.at = NOW - timedelta(minutes=1)
    place.revoke("borealis")


def other_code(place: Consortium) -> None:
    code = CodeIdentity(package="ff" * 32, environment=CODE.environment)
    place.file(replace(place.drafted(), code=code))


def other_recipe(place: Consortium) -> None:
    place.file(replace(place.drafted(), recipe="ab" * 32))


def others_data(place: Consortium) -> None:
    manifest, other = (place.folder / name / "data" / "site-data.json" for name in ("borealis", "acme"))
    manifest.write_bytes(other.read_bytes())


def no_plan(place: Consortium) -> None:
    (place.folder / "borealis" / "plan.json").unlink()


@pytest.mark.parametrize(
    ("change", "what", "error"),
    [
        (no_key, "its own key", KeyFileError),
        (others_key, "its own key", AgreementError),
        (revoked, "plan, agreement and policy allow it", RefusedError),
        (other_code, "the plan's code", RefusedError),
        (other_recipe, "the plan's data and recipe", RefusedError),
        (others_data, "the plan's data and recipe", DataFileError),
        (no_plan, "site.toml, plan and agreement in force", InputError),
    ],
)
def test_what_is_wrong_at_a_site_is_named_before_it_starts(
    aurora: Consortium, change: Callable[[Consortium], None], what: str, error: type[PharmoniaError]
) -> None:
    change(aurora)
    found = at_site(aurora)
    assert bad(found)[what] is error
    with pytest.raises(PharmoniaError):
        found.require()


@pytest.mark.parametrize("name", ["data", "state"])
def test_a_folder_that_others_can_read_is_named_before_the_site_starts(
    aurora: Consortium, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    what, folder = "nobody else can read its data and its state", aurora.folder / "borealis" / name
    folder.mkdir(exist_ok=True)

    def refuse(one: Path) -> None:
        if one == folder:
            raise InputError("open to others")

    monkeypatch.setattr(preflight_site, "require_closed", refuse)  # tests lie where nobody else comes
    assert bad(at_site(aurora)) == {what: InputError}


def test_too_little_memory_or_disk_is_named_with_what_is_needed(
    aurora: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert bad(at_site(aurora, memory=1 << 29)) == {"memory": InputError}
    monkeypatch.setattr(preflight, "MIN_DISK_BYTES", 1 << 60)
    rows = machine_checks("acme", aurora.folder, PLENTY)
    assert [str(row.error) for row in rows if row.error is not None and "make room for" in str(row.error)]


def test_a_coordinator_is_told_of_a_plan_that_is_not_its_own_or_not_approved(aurora: Consortium) -> None:
    config = aurora.folder / COORDINATOR / "coordinator.toml"
    text = config.read_text()
    config.write_text(text.replace('partner = "dynamo"', 'partner = "acme"'))
    assert bad(at_seat(aurora))["the plan is for it"] is RefusedError
    config.write_text(text)
    signed = replace(aurora.signed, signatures=aurora.signed.signatures[:1])
    write_plan(aurora.folder / COORDINATOR / "plan.json", signed)
    assert bad(at_seat(aurora)) == {"enough data owners approved the plan": RefusedError}


def test_a_key_that_was_rotated_is_named_at_site_and_seat_and_opens_no_site(aurora: Consortium) -> None:
    newer = rotated(rotated(aurora.history, "borealis", 1), COORDINATOR, 1)
    for name in ("borealis", COORDINATOR):
        write_agreement(aurora.folder / name / "agreement.json", newer)
    for found, version in ((at_site(aurora), 2), (at_seat(aurora), 3)):
        [error] = [check.error for check in found.checks if check.what == "its own key"]
        assert isinstance(error, AgreementError)
        assert f"retired since version {version}" in str(error)
    with pytest.raises(AgreementError, match="retired since version 2"), opened(aurora, "borealis"):
        pass


# What sites say of themselves


@pytest.fixture(scope="module")
def greeting(original: Consortium, tmp_path_factory: pytest.TempPathFactory) -> Greeting:
    place = original.copied(tmp_path_factory.mktemp("greeting") / "aurora")
    with place.sites() as sites:
        return greet(InProcessEngine(sites), "cygnus")


def judged(place: Consortium, one: Greeting) -> Preflight:
    return greeting_checks(place.signed.plan, place.history.current(NOW), CODE, [(one, NOW)])


def test_a_site_that_stands_on_the_same_passes(original: Consortium, greeting: Greeting) -> None:
    assert bad(judged(original, replace(greeting, at=NOW))) == {}


@pytest.mark.parametrize(
    ("field", "what"), [("agreement", "the same agreement"), ("plan", "the same plan"), ("recipe", "the same recipe")]
)
def test_a_site_that_stands_on_other_papers_is_named(
    original: Consortium, greeting: Greeting, field: str, what: str
) -> None:
    found = judged(original, replace(greeting, at=NOW, **{field: "ee" * 32}))  # type: ignore[arg-type]
    assert bad(found) == {what: RefusedError}
    with pytest.raises(RefusedError, match="cygnus has another"):
        found.require()


def test_a_site_with_other_code_is_told_which_part(original: Consortium, greeting: Greeting) -> None:
    package = replace(greeting, at=NOW, code=CodeIdentity(package="ff" * 32, environment=CODE.environment))
    packages = replace(greeting, at=NOW, code=CodeIdentity(package=CODE.package, environment="ff" * 32))
    assert bad(judged(original, package)) == {"the same code": RefusedError}
    assert bad(judged(original, packages)) == {"the same Python and packages": RefusedError}


@pytest.mark.parametrize("skew_s", [-MAX_SKEW_S - 1, MAX_SKEW_S + 1])
def test_another_clock_is_refused_and_a_little_skew_is_not(
    original: Consortium, greeting: Greeting, skew_s: int
) -> None:
    assert bad(judged(original, replace(greeting, at=NOW + timedelta(seconds=skew_s)))) == {
        "the same clock": RefusedError
    }
    assert bad(judged(original, replace(greeting, at=NOW + timedelta(seconds=MAX_SKEW_S)))) == {}


# The table on disk


def test_a_table_is_read_as_it_was_written(aurora: Consortium, tmp_path: Path) -> None:
    no_key(aurora)
    found = at_site(aurora)
    write_preflight(tmp_path / "table.json", found)
    read = read_preflight(tmp_path / "table.json")
    assert [(one.where, one.what, type(one.error), str(one.error)) for one in read.checks] == [
        (one.where, one.what, type(one.error), str(one.error)) for one in found.checks
    ]


@pytest.mark.parametrize(
    "content", ["", "{}", '{"checks": [{"where": "a", "what": "b", "error": "os", "reason": ""}]}']
)
def test_a_damaged_table_is_an_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "table.json").write_text(content)
    with pytest.raises(StoreError, match="is damaged"):
        read_preflight(tmp_path / "table.json")


# The one port


def test_a_server_that_is_not_there_is_named_with_what_to_open(tmp_path: Path) -> None:
    own = Credentials(authority=tmp_path / "ca", certificate=tmp_path / "crt", key=tmp_path / "key")
    with pytest.raises(KitError, match="cannot be read"):
        require_connection("localhost", 1, own)


def test_whoever_answers_in_clear_text_is_not_the_server(tmp_path: Path) -> None:
    kit = make_folder(tmp_path, make_authority(tmp_path / "authority"), "acme", Role.DATA_OWNER)
    startup = kit / "site" / "startup"
    own = Credentials(authority=startup / "rootCA.pem", certificate=startup / "client.crt", key=startup / "client.key")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def answer() -> None:
            taken, _ = server.accept()
            with taken:
                taken.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                taken.recv(1024)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        with pytest.raises(CertificateError, match="not as the consortium's server"):
            require_connection("127.0.0.1", port, own)
        thread.join(timeout=5)
    with pytest.raises(UnreachableError, match="let this machine open TCP connections"):
        require_connection("127.0.0.1", port, own)
