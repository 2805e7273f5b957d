"""A folder of prepared tasks held against the consortium's recipe and expectations, before any training."""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pharmonia.base.canonical import Json
from pharmonia.base.errors import ExpectationError, InputError
from pharmonia.data.contract import Drift, Expectation, drift, expectations_from
from pharmonia.data.contract_report import PrepareReport, decode_report
from pharmonia.data.recipe import Recipe, decode_recipe
from pharmonia.data.recipe_codec import profile_from
from pharmonia.data.recipe_profile import PrepareProfile
from pharmonia.run.prepare_files import MANIFEST, REPORT, open_prepared, read_prepared_manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """What a check found.

    Args:
        report: What the preparation took in, turned away and made.
        drifts: Assays that depart from an expectation, and expectations that name no assay.
    """

    report: PrepareReport
    drifts: tuple[Drift, ...]

    def as_json(self) -> dict[str, Json]:
        """For machines."""
        drifts: list[Json] = [
            {"assay": one.assay_id, "kind": one.kind.value, "found": one.found, "expected": one.expected}
            for one in self.drifts
        ]
        return {**self.report.as_json(), "drift": drifts, "warnings": list(self.report.warnings())}

    def require(self) -> None:
        """Nothing, if every expectation is met.

        Raises:
            ExpectationError: One is not; lists them.
        """
        if self.drifts:
            raise ExpectationError(
                f"{len(self.drifts)} of the consortium's expectations are not met; ask whether that is meant"
            )


def check_prepared(folder: Path, wanted: Recipe | None, expectations: tuple[Expectation, ...]) -> CheckResult:
    """Verify every file of a folder, its arrays, its recipe and its assays.

    Raises:
        InputError: It is no folder of prepared tasks, or has no report of its preparation, as what `pharmonia compare`
            hands over.
        CacheError: A file is damaged.
        RecipeError: It was prepared under another recipe than the wanted one.
    """
    open_prepared(folder, wanted)
    if not (folder / REPORT).is_file():
        raise InputError(
            f"every file of {folder} is whole, but there is no {REPORT} among them to hold its assays against: "
            "`pharmonia prepare` writes one, a comparison that shares out data does not"
        )
    report = decode_report((folder / REPORT).read_bytes(), str(folder / REPORT))
    return CheckResult(report=report, drifts=drift(report.assays, expectations))


def read_recipe(path: Path) -> Recipe:
    """The recipe in a file, or of a folder of prepared tasks.

    Raises:
        InputError: The file cannot be read.
        RecipeError: It is no recipe.
    """
    if (path / MANIFEST).is_file():
        return read_prepared_manifest(path).recipe
    return decode_recipe(_bytes(path), str(path))


def read_profile(path: Path) -> PrepareProfile:
    """The profile that a TOML or JSON file describes: the default one with its changes.

    Raises:
        InputError: The file cannot be read.
        OptionError: It names an unknown setting, or gives one a value that it cannot have.
    """
    return profile_from(_document(path))


def read_expectations(path: Path) -> tuple[Expectation, ...]:
    """The expectations that a TOML or JSON file lists.

    Raises:
        InputError: The file cannot be read.
        OptionError: It is not of that form.
    """
    return expectations_from(_document(path), path.name)


def _document(path: Path) -> Mapping[str, object]:
    content = _bytes(path)
    try:
        text = content.decode()
        document = json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
    except ValueError as error:
        raise InputError(f"{path} cannot be read as {path.suffix.lower().strip('.') or 'toml'}: {error}") from error
    if not isinstance(document, Mapping):
        raise InputError(f"{path} should hold a table of settings")
    return document


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
