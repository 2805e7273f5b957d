"""Files for their owner alone, and folders into which nobody else can come."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pharmonia.base.errors import InputError
from pharmonia.run.files import for_us_alone, require_closed, write_whole


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that everybody can enter; pytest's own lie in one that is closed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        folder.chmod(0o755)
        if any(mode(one) & 0o011 != 0o011 for one in folder.parents):
            pytest.skip("temporary files lie where nobody else comes: set TMPDIR to a folder like /tmp")
        yield folder


def test_what_is_made_meanwhile_is_for_our_user_alone_and_what_comes_after_is_not(tmp_path: Path) -> None:
    with for_us_alone():
        write_whole(tmp_path / "during" / "file", b"")
    write_whole(tmp_path / "after", b"")
    assert (mode(tmp_path / "during"), mode(tmp_path / "during" / "file")) == (0o700, 0o600)
    assert mode(tmp_path / "after") & 0o044


@pytest.mark.parametrize("bits", [0o755, 0o750, 0o705, 0o711, 0o770])
def test_a_folder_that_lets_group_or_others_in_is_refused_with_the_remedy(place: Path, bits: int) -> None:
    folder = place / "state"
    folder.mkdir()
    folder.chmod(bits)
    with pytest.raises(InputError, match=rf"state is open to others \(mode {bits:o}\); run `chmod 700 .*state`"):
        require_closed(folder)


def test_a_folder_is_closed_by_itself_or_by_one_above_it(place: Path) -> None:
    folder = place / "site" / "state"
    folder.mkdir(parents=True)
    folder.chmod(0o700)
    require_closed(folder)
    folder.chmod(0o755)
    folder.parent.chmod(0o700)
    require_closed(folder)
    link = place / "link"
    link.symlink_to(folder)
    require_closed(link)  # where it leads to is what counts
