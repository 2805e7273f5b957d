"""A ledger on disk: durable, one writer, whole after a crash at any byte."""

import errno
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pharmonia.base.errors import InputError, LedgerBusyError, LedgerError, ProofError
from pharmonia.governance.checkpoint import Checkpoint, SignedCheckpoint, sign_checkpoint
from pharmonia.governance.events import PlanFiled
from pharmonia.governance.identity import PrivateKey
from pharmonia.governance.ledger import Entry, Head, sign_entry
from pharmonia.governance.proofs import prove_consistency, prove_inclusion
from pharmonia.run.ledgerfile import (
    CHECKPOINTS,
    ENTRIES,
    HASHES,
    StoredHashes,
    append_durably,
    open_ledger,
    read_checkpoints,
)

LEDGER = "aa" * 32
AT = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
ALPHA = PrivateKey(Ed25519PrivateKey.from_private_bytes(bytes([1]) * 32))


def entry(number: int, plan: str = "cd" * 32) -> Entry:
    return sign_entry(ledger=LEDGER, number=number, at=AT, events=(PlanFiled(plan=plan),), key=ALPHA)


def entries(n: int) -> list[Entry]:
    return [entry(number) for number in range(n)]


def checkpoint_of(head: Head, previous: SignedCheckpoint | None = None) -> SignedCheckpoint:
    before = None if previous is None else previous.checkpoint.digest
    return sign_checkpoint(
        Checkpoint(ledger=LEDGER, size=head.tree.size, root=head.tree.root.hex(), at=AT, previous=before), ALPHA
    )


def tree_of(n: int) -> Head:
    head = Head(ledger=LEDGER)
    for one in entries(n):
        head, _ = head.append(one)
    return head


def test_what_was_appended_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "ledger"
    for start in (0, 3, 6):
        with open_ledger(folder, LEDGER) as ledger:
            assert ledger.head == tree_of(start)
            assert ledger.append(entries(start + 2)[start:]) == start + 2
            assert ledger.append([entry(start + 2)]) == start + 3
    assert (folder / ENTRIES).read_bytes() == b"".join(one.to_line() + b"\n" for one in entries(9))


def test_proofs_are_read_from_the_folder(tmp_path: Path) -> None:
    everything = entries(21)
    with open_ledger(tmp_path, LEDGER) as ledger:
        ledger.append(everything[:13])
        old = checkpoint_of(ledger.head)
        ledger.append(everything[13:])
        new = checkpoint_of(ledger.head, old)
        ledger.append_checkpoint(old)
        ledger.append_checkpoint(new)
        nodes = StoredHashes(tmp_path)
        for index, one in enumerate(everything):
            assert prove_inclusion(LEDGER, index, 21, nodes).shows(one.to_line(), new.checkpoint)
        assert prove_consistency(LEDGER, 13, 21, nodes).shows(old.checkpoint, new.checkpoint)
        with pytest.raises(ProofError, match="no subtree"):
            prove_inclusion(LEDGER, 3, 40, nodes)
    assert read_checkpoints(tmp_path / CHECKPOINTS) == [old, new]


def test_a_crash_at_any_byte_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    acknowledged = b"".join(one.to_line() + b"\n" for one in entries(2))
    torn = entry(2).to_line() + b"\n"
    for n_bytes in range(0, len(torn) + 1, 7):
        folder = tmp_path / str(n_bytes)
        folder.mkdir()
        (folder / ENTRIES).write_bytes(acknowledged + torn[:n_bytes])
        (folder / HASHES).write_bytes(b"half-written hashes")
        with open_ledger(folder, LEDGER) as ledger:
            assert ledger.head.tree.size == (3 if n_bytes == len(torn) else 2)
            aside = [path.read_bytes() for path in folder.glob(f"{ENTRIES}.torn.*")]
            assert aside == ([torn[:n_bytes]] if 0 < n_bytes < len(torn) else [])
            ledger.append([entry(ledger.head.tree.size)])
            one = entry(0).to_line()
            size = ledger.head.tree.size
            proof = prove_inclusion(LEDGER, 0, size, StoredHashes(folder))
            assert proof.shows(one, checkpoint_of(ledger.head).checkpoint)


def test_a_torn_checkpoint_is_set_aside_too(tmp_path: Path) -> None:
    with open_ledger(tmp_path, LEDGER) as ledger:
        ledger.append(entries(3))
        signed = checkpoint_of(ledger.head)
        ledger.append_checkpoint(signed)
    with (tmp_path / CHECKPOINTS).open("ab") as file:
        file.write(signed.to_line()[:50])
    with open_ledger(tmp_path, LEDGER) as ledger:
        assert ledger.last_checkpoint == signed
    assert (tmp_path / f"{CHECKPOINTS}.torn.0").read_bytes() == signed.to_line()[:50]


def test_a_second_writer_is_refused_while_the_first_is_there(tmp_path: Path) -> None:
    with open_ledger(tmp_path, LEDGER) as ledger:
        ledger.append(entries(2))
        with pytest.raises(LedgerBusyError, match="another process"), open_ledger(tmp_path, LEDGER):
            pass
        code = (
            "import sys; from pathlib import Path; from pharmonia.run.ledgerfile import open_ledger\n"
            "from pharmonia.base.errors import LedgerBusyError\n"
            f"try:\n    with open_ledger(Path(sys.argv[1]), '{LEDGER}'): pass\n"
            "except LedgerBusyError: print('busy')"
        )
        done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "busy"
    with open_ledger(tmp_path, LEDGER) as ledger:
        assert ledger.head == tree_of(2)


def test_a_process_killed_in_the_middle_leaves_no_lock(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from pharmonia.run.ledgerfile import open_ledger\n"
        f"with open_ledger(Path(sys.argv[1]), '{LEDGER}'): os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == 9
    with open_ledger(tmp_path, LEDGER) as ledger:
        assert ledger.append(entries(1)) == 1


def test_one_wrong_entry_keeps_all_of_its_batch_out(tmp_path: Path) -> None:
    with open_ledger(tmp_path, LEDGER) as ledger:
        ledger.append(entries(2))
        with pytest.raises(LedgerError, match="missing"):
            ledger.append([entry(2), entry(4)])
        assert ledger.head == tree_of(2)
        assert ledger.append([entry(2)]) == 3
    assert (tmp_path / ENTRIES).read_bytes() == b"".join(one.to_line() + b"\n" for one in entries(3))


def test_a_full_disk_takes_nothing_back_and_leaves_a_ledger_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_ledger(tmp_path, LEDGER) as ledger:
        ledger.append(entries(2))

        def full(_: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(InputError, match="No space left"):
                ledger.append([entry(2)])
        assert ledger.head == tree_of(2)
        assert ledger.append([entry(2)]) == 3
        proof = prove_inclusion(LEDGER, 2, 3, StoredHashes(tmp_path))
        assert proof.shows(entry(2).to_line(), checkpoint_of(tree_of(3)).checkpoint)
    with open_ledger(tmp_path, LEDGER) as ledger:
        assert ledger.head == tree_of(3)


def interrupted(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


FSYNC, TAKE_BACK, REMEMBER = "os.fsync", "pharmonia.run.ledgerfile._take_back", "pharmonia.run.ledgerfile.replace"


@pytest.mark.parametrize("calls", [(FSYNC,), (FSYNC, TAKE_BACK), (REMEMBER,)], ids=["write", "take-back", "remember"])
def test_an_interrupted_append_leaves_a_ledger_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: tuple[str, ...]
) -> None:
    """Ctrl-C while an entry, or a checkpoint, is written: what is said next has the number of what was not said."""
    with open_ledger(tmp_path, LEDGER) as ledger:
        ledger.append(entries(2))
        first = checkpoint_of(ledger.head)
        for append in (lambda: ledger.append([entry(2)]), lambda: ledger.append_checkpoint(first)):
            with monkeypatch.context() as patch:
                for call in calls:
                    patch.setattr(call, interrupted)
                with pytest.raises(KeyboardInterrupt):
                    append()
        assert ledger.head == tree_of(2)
        assert ledger.last_checkpoint is None
        said = [*entries(2), entry(2, "ef" * 32)]
        assert ledger.append([said[2]]) == 3
        assert read_checkpoints(tmp_path / CHECKPOINTS) == []
        last = checkpoint_of(ledger.head)
        ledger.append_checkpoint(last)
        ledger.append([entry(3)])
    assert (tmp_path / ENTRIES).read_bytes() == b"".join(one.to_line() + b"\n" for one in [*said, entry(3)])
    with open_ledger(tmp_path, LEDGER) as ledger:
        assert (ledger.head.tree.size, ledger.last_checkpoint) == (4, last)


def test_an_append_interrupted_for_good_is_there_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_ledger(tmp_path, LEDGER) as ledger, monkeypatch.context() as patch:
        patch.setattr(FSYNC, interrupted)
        patch.setattr(TAKE_BACK, interrupted)
        with pytest.raises(KeyboardInterrupt):
            ledger.append([entry(0)])
    with open_ledger(tmp_path, LEDGER) as ledger:
        assert ledger.append([entry(ledger.head.tree.size)]) == 2


def test_a_line_that_was_interrupted_in_its_middle_is_no_part_of_the_next(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    append_durably(path, b"one\n")
    path.write_bytes(b"one\ntw")
    append_durably(path, b"three\n")
    assert path.read_bytes() == b"one\nthree\n"


def test_a_ledger_that_became_shorter_under_its_writer_is_not_written_on(tmp_path: Path) -> None:
    with open_ledger(tmp_path, LEDGER) as ledger:
        ledger.append(entries(2))
        os.truncate(tmp_path / ENTRIES, 10)
        with pytest.raises(LedgerError, match="partner's copy"):
            ledger.append([entry(2)])
    assert (tmp_path / ENTRIES).stat().st_size <= 10


def test_who_let_go_of_the_lock_writes_no_more(tmp_path: Path) -> None:
    with open_ledger(tmp_path, LEDGER) as old:
        old.append(entries(1))
    with open_ledger(tmp_path, LEDGER) as new:
        new.append([entry(1)])
        with pytest.raises(LedgerBusyError, match="let go of"):
            old.append([entry(1, "ef" * 32)])
        with pytest.raises(LedgerBusyError, match="let go of"):
            old.append_checkpoint(checkpoint_of(tree_of(1)))
    with open_ledger(tmp_path, LEDGER) as ledger:
        assert ledger.head == tree_of(2)


def test_the_lock_is_held_until_an_append_under_way_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on, real = threading.Event(), threading.Event(), os.fsync

    def slow(descriptor: int) -> None:
        begun.set()
        go_on.wait(10.0)
        real(descriptor)

    def is_locked() -> bool:
        try:
            with open_ledger(tmp_path, LEDGER):
                return False
        except LedgerBusyError:
            return True

    opened = open_ledger(tmp_path, LEDGER)
    ledger = opened.__enter__()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", slow)
        writer = threading.Thread(target=ledger.append, args=([entry(0)],))
        writer.start()
        assert begun.wait(10.0)
        closer = threading.Thread(target=opened.__exit__, args=(None, None, None))
        closer.start()
        closer.join(0.2)
        assert closer.is_alive()
        assert is_locked()
        go_on.set()
        writer.join(10.0)
        closer.join(10.0)
    with open_ledger(tmp_path, LEDGER) as again:
        assert again.head == tree_of(1)


@pytest.mark.parametrize("place", [0, 200, -2])
def test_damage_within_the_ledger_names_line_and_remedy(tmp_path: Path, place: int) -> None:
    with open_ledger(tmp_path, LEDGER) as ledger:
        ledger.append(entries(3))
    damaged = bytearray((tmp_path / ENTRIES).read_bytes())
    damaged[place] ^= 1
    (tmp_path / ENTRIES).write_bytes(damaged)
    with pytest.raises(LedgerError, match=r"line \d.*partner whose copy verifies"), open_ledger(tmp_path, LEDGER):
        pass


def test_entries_that_a_checkpoint_has_seen_cannot_vanish(tmp_path: Path) -> None:
    with open_ledger(tmp_path, LEDGER) as ledger:
        ledger.append(entries(5))
        ledger.append_checkpoint(checkpoint_of(ledger.head))
    whole = (tmp_path / ENTRIES).read_bytes()
    (tmp_path / ENTRIES).write_bytes(b"".join(whole.splitlines(keepends=True)[:4]))
    with pytest.raises(LedgerError, match="entries are missing"), open_ledger(tmp_path, LEDGER):
        pass
    (tmp_path / ENTRIES).write_bytes(b"".join(one.to_line() + b"\n" for one in [*entries(4), entry(4, "ef" * 32)]))
    with pytest.raises(LedgerError, match="are not those of the checkpoint"), open_ledger(tmp_path, LEDGER):
        pass


def test_a_checkpoint_of_another_state_is_not_appended(tmp_path: Path) -> None:
    with open_ledger(tmp_path, LEDGER) as ledger:
        ledger.append(entries(5))
        first = checkpoint_of(tree_of(4))
        ledger.append_checkpoint(first)
        with pytest.raises(LedgerError, match="entries are missing"):
            ledger.append_checkpoint(checkpoint_of(tree_of(6)))
        with pytest.raises(LedgerError, match="does not follow on the last, of 4"):
            ledger.append_checkpoint(checkpoint_of(tree_of(3), first))
        with pytest.raises(LedgerError, match="does not follow on the last, of 4"):
            ledger.append_checkpoint(checkpoint_of(tree_of(5)))


def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot write"), open_ledger(tmp_path / "file", LEDGER):
        pass
