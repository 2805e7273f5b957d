"""The recipe that partners agree on before they prepare data; its digest enters the plan of a run."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from pharmonia.base.canonical import Json, canonical_json, digest_json
from pharmonia.base.errors import OptionError, RecipeError
from pharmonia.data.recipe_codec import plain, profile_from
from pharmonia.data.recipe_profile import PrepareProfile

RECIPE_VERSION = 1
_DIGEST = re.compile(r"[0-9a-f]{64}")
_FIELDS = ("version", "profile", "rdkit", "key_commitment", "reference")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that decides on the columns, folds and tasks that data become.

    Args:
        profile: The settings.
        rdkit: Version of RDKit.
        key_commitment: `PreparationKey.commitment` of the consortium's key.
        reference: Digest of what this installation makes of the reference structures.

    Raises:
        OptionError: A digest is not 64 hexadecimal digits, or a version is missing.
    """

    profile: PrepareProfile
    rdkit: str
    key_commitment: str
    reference: str

    def __post_init__(self) -> None:
        if not self.rdkit:
            raise OptionError("a recipe names its version of RDKit")
        for name in ("key_commitment", "reference"):
            if not _DIGEST.fullmatch(getattr(self, name)):
                raise OptionError(f"{name} of a recipe must be 64 hexadecimal digits")

    def as_json(self) -> dict[str, Json]:
        """The recipe as plain values."""
        return {
            "version": RECIPE_VERSION,
            "profile": plain(self.profile),
            "rdkit": self.rdkit,
            "key_commitment": self.key_commitment,
            "reference": self.reference,
        }

    def encode(self) -> bytes:
        """Canonical bytes."""
        return canonical_json(self.as_json())

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical bytes, 64 hexadecimal digits."""
        return digest_json(self.as_json())

    def require_same(self, wanted: "Recipe") -> None:
        """Nothing, if data of this recipe may be trained with data of the wanted one.

        Raises:
            RecipeError: They differ; names every setting that does.
        """
        differences = self.differences(wanted)
        if differences:
            shown = "; ".join(differences)
            raise RecipeError(f"the data were prepared under another recipe than the consortium's: {shown}")

    def differences(self, wanted: "Recipe") -> tuple[str, ...]:
        """One line per setting that differs from the wanted recipe's."""
        lines = []
        if self.key_commitment != wanted.key_commitment:
            lines.append("another key: prepare again with the consortium's key file")
        if self.reference != wanted.reference and self.rdkit == wanted.rdkit:
            lines.append("this installation makes other structures of the reference set: compare the installations")
        if self.rdkit != wanted.rdkit:
            lines.append(f"RDKit {self.rdkit} where {wanted.rdkit} is agreed")
        mine, theirs = dict(_leaves(plain(self.profile))), dict(_leaves(plain(wanted.profile)))
        lines.extend(f"{name} is {mine[name]}, agreed is {theirs[name]}" for name in mine if mine[name] != theirs[name])
        return tuple(lines)


def decode_recipe(content: bytes, where: str) -> Recipe:
    """The recipe in a file's bytes.

    Raises:
        RecipeError: They are no recipe of this version.
    """
    try:
        document = json.loads(content)
    except ValueError as error:
        raise RecipeError(f"{where} is not a recipe: {error}") from error
    return recipe_from(document, where)


def recipe_from(document: object, where: str) -> Recipe:
    """The recipe of plain values.

    Raises:
        RecipeError: They are no recipe of this version.
    """
    if not isinstance(document, Mapping) or set(document) != set(_FIELDS):
        raise RecipeError(f"{where} is not a recipe: it should hold {', '.join(_FIELDS)}")
    if document["version"] != RECIPE_VERSION:
        raise RecipeError(f"{where} is a recipe of version {document['version']}, this program reads {RECIPE_VERSION}")
    texts = {name: document[name] for name in ("rdkit", "key_commitment", "reference")}
    if not all(isinstance(text, str) for text in texts.values()) or not isinstance(document["profile"], Mapping):
        raise RecipeError(f"{where} is not a recipe: a field is of another type")
    try:
        return Recipe(profile=profile_from(document["profile"]), **texts)
    except OptionError as error:
        raise RecipeError(f"{where} is not a recipe: {error}") from error


def _leaves(value: Json, name: str = "") -> list[tuple[str, Json]]:
    if isinstance(value, Mapping):
        inner = [_leaves(one, f"{name}.{key}" if name else key) for key, one in value.items()]
        return [leaf for part in inner for leaf in part]
    return [(name, value)]
