"""What code runs here: digests of the installed package, and of Python and the packages that it stands on."""

import platform
import re
from importlib import metadata
from pathlib import Path

import pharmonia
from pharmonia.base.canonical import digest_file, digest_json
from pharmonia.governance.terms import CodeIdentity

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_COMPILED = "__pycache__"
_SHARED_EXTRAS = ("train",)  # what takes part in a run; not what draws its report or tests it


def installed_code() -> CodeIdentity:
    """The code that would run; the same at all partners who installed the same versions of the same packages."""
    return CodeIdentity(package=package_digest(Path(pharmonia.__file__).parent), environment=_environment_digest())


def package_digest(folder: Path) -> str:
    """SHA-256 over the paths and digests of all files of a package, without what Python compiles from them."""
    files = [path for path in folder.rglob("*") if path.is_file() and _COMPILED not in path.parts]
    return digest_json({path.relative_to(folder).as_posix(): digest_file(path) for path in files})


def environment() -> dict[str, str]:
    """Versions of Python and of each package that Pharmonia's runs stand on, by name."""
    found = {"python": f"{platform.python_implementation()} {platform.python_version()}"}
    waiting = [_normal(name) for name in _requirements("pharmonia", _SHARED_EXTRAS)]
    while waiting:
        name = waiting.pop()
        if name not in found:
            version = _version(name)
            if version is not None:
                found[name] = version
                waiting += [_normal(required) for required in _requirements(name, ())]
    return found


def _environment_digest() -> str:
    return digest_json(environment())


def _version(name: str) -> str | None:
    """The installed version; none for a copy that another package brings inside itself.

    Such copies come into reach when that package is imported, as setuptools and Ray do, and must not change the digest.
    """
    return next((found.version for found in metadata.distributions(name=name) if not _is_inside_another(found)), None)


def _is_inside_another(found: metadata.Distribution) -> bool:
    folder = Path(str(found.locate_file("")))
    return bool({"site-packages", "dist-packages"} & set(folder.parts[:-1]))


def _requirements(name: str, extras: tuple[str, ...]) -> list[str]:
    """Names that a distribution requires always, or for these extras, whether or not they are for this machine."""
    found = []
    for requirement in metadata.requires(name) or []:
        _, _, marker = requirement.partition(";")
        wanted = "extra" not in marker or any(re.search(rf"extra\s*==\s*['\"]{one}['\"]", marker) for one in extras)
        match = _NAME.match(requirement)
        if match and wanted:
            found.append(match[0])
    return found


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
