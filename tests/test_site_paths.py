"""Where a site's files lie is nobody else's business: what it tells the coordinator names files by their name alone."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pharmonia.base.errors import AgreementError
from pharmonia.engines.nvflare.desk import Desk, Question
from pharmonia.engines.nvflare.faultlog import FAULT_LOG
from pharmonia.engines.nvflare.wire import Form, Request, Task, decode_fault
from pharmonia.governance.documents import MAX_DOCUMENT_BYTES
from pharmonia.governance.identity import PrivateKey
from pharmonia.learn.messages import SessionRequest, encode
from pharmonia.run.refusals import decode_refusal
from pharmonia.run.site import open_site
from site_cases import Consortium, fixed_code, history, opened, secret, settings

HELLO = Question(
    task=Task.HELLO, peer="server", request=Request(run="run", number=0, start=0, length=0, part=b"")
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _code() -> Iterator[None]:
    with fixed_code():
        yield


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Consortium:
    return Consortium(folder=tmp_path_factory.mktemp("aurora"), settings=settings(), history=history()).found()


@pytest.fixture
def aurora(original: Consortium, tmp_path: Path) -> Consortium:
    return original.copied(tmp_path / "aurora")


def missing(path: Path) -> None:
    path.unlink()


def too_long(path: Path) -> None:
    path.write_bytes(bytes(MAX_DOCUMENT_BYTES + 1))


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def damaged(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


@pytest.mark.parametrize("name", ["agreement.json", "policy.json"])
@pytest.mark.parametrize("change", [missing, too_long, a_folder, damaged])
def test_a_refusal_names_a_paper_that_cannot_be_read_by_its_name_alone(
    aurora: Consortium, name: str, change: Callable[[Path], None]
) -> None:
    with opened(aurora, "acme") as acme:
        change(aurora.folder / "acme" / name)
        refusal = decode_refusal(acme.handle(encode(SessionRequest(session=bytes(32)))))
    assert name in refusal.reason
    assert "/" not in refusal.reason


def test_a_key_of_another_s_is_told_by_its_file_s_name_and_its_place_stands_in_the_site_s_own_log(
    aurora: Consortium,
) -> None:
    home = aurora.folder / "acme"
    secret(home / "acme.key", PrivateKey.generate().to_pem(None))
    with ExitStack() as stack:
        open_party = lambda: stack.enter_context(open_site(home, now=aurora.now))  # noqa: E731
        reply = Desk("run", "server", open_party, home, 1 << 20).answer(HELLO)
    assert reply.form is Form.FAULT
    told = decode_fault(bytes(reply.body), "acme")
    assert isinstance(told, AgreementError)
    assert str(told) == "acme: acme.key is a key of nobody in the agreement; put a key of acme there"
    assert str(home / "acme.key") in (home / FAULT_LOG).read_text()
