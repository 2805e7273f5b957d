"""The digest of the code: any change of a file shows, what Python compiles does not."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pharmonia.run.codedigest import environment, installed_code, package_digest


def package(folder: Path) -> Path:
    (folder / "inner" / "__pycache__").mkdir(parents=True)
    (folder / "__init__.py").write_text("x = 1\n")
    (folder / "inner" / "part.py").write_text("y = 2\n")
    (folder / "inner" / "table.csv").write_text("1,2\n")
    return folder


def test_any_change_of_a_file_shows(tmp_path: Path) -> None:
    folder = package(tmp_path / "one")
    before = package_digest(folder)
    assert package_digest(package(tmp_path / "two")) == before
    (folder / "inner" / "__pycache__" / "part.cpython-311.pyc").write_bytes(b"compiled")
    assert package_digest(folder) == before
    changes: list[Callable[[], object]] = [
        lambda: (folder / "inner" / "part.py").write_text("y = 3\n"),
        lambda: (folder / "inner" / "part.py").rename(folder / "part.py"),
        lambda: (folder / "extra.py").write_text(""),
        (folder / "inner" / "table.csv").unlink,
    ]
    digests = {before}
    for change in changes:
        change()
        digests.add(package_digest(folder))
    assert len(digests) == 5


def test_the_installed_code_has_an_identity_that_stays() -> None:
    assert installed_code() == installed_code()
    assert installed_code().package != installed_code().environment


def test_the_environment_names_what_runs_stand_on() -> None:
    found = environment()
    assert found["python"].split()[1].count(".") == 2
    assert {"numpy", "torch", "rdkit", "cryptography"} <= set(found)
    assert {"pytest", "mypy", "ruff", "pip", "pharmonia"}.isdisjoint(found)


def test_what_a_package_brings_inside_itself_does_not_change_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray and setuptools put copies of other packages within reach once they are imported, before the real ones."""
    before = environment()
    for inside, name in (("ray/thirdparty_files", "colorama"), ("setuptools/_vendor", "numpy")):
        place = tmp_path / "site-packages" / inside
        about = place / f"{name}-99.9.dist-info" / "METADATA"
        about.parent.mkdir(parents=True)
        about.write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 99.9\n")
        monkeypatch.syspath_prepend(place)
    assert environment() == before
