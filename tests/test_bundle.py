"""A bundle reads as it was written, tells nothing of structures, and whatever else was done to its files is noticed."""

import contextlib
import hashlib
import json
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from bundle_cases import SETTINGS, SMILES, contents, home_of, partner_at, same
from pharmonia.base.canonical import canonical_json
from pharmonia.base.errors import BundleError, InputError
from pharmonia.run.bundle import CALIBRATION, CARD, MANIFEST, MODEL, TASKS, _manifest, read_bundle, write_bundle
from pharmonia.run.bundle_export import TrainedPartner
from pharmonia.run.bundle_parts import BundleContents, network_of
from pharmonia.run.bundle_tasks import decode_bundle_tasks, decode_settings, encode_bundle_tasks, encode_settings
from prepare_cases import KEY


@pytest.fixture(scope="module")
def partner(tmp_path_factory: pytest.TempPathFactory) -> TrainedPartner:
    return partner_at(home_of(tmp_path_factory))


@pytest.fixture(scope="module")
def made(partner: TrainedPartner) -> BundleContents:
    return contents(partner)


@pytest.fixture(scope="module")
def folder(made: BundleContents, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundles") / "acme"
    write_bundle(path, made)
    return path


@pytest.mark.parametrize("name", ["acme", "acme.zip"])
def test_a_bundle_reads_as_it_was_written(made: BundleContents, tmp_path: Path, name: str) -> None:
    digest = write_bundle(tmp_path / name, made)
    found = read_bundle(tmp_path / name)
    assert found.digest == digest
    assert same(found.contents, made)


def test_a_bundle_without_a_domain_reads_as_it_was_written(made: BundleContents, tmp_path: Path) -> None:
    bare = replace(made, domain=None)
    write_bundle(tmp_path / "b", bare)
    assert same(read_bundle(tmp_path / "b").contents, bare)


def test_equal_contents_give_equal_bytes(partner: TrainedPartner, tmp_path: Path) -> None:
    digests = [write_bundle(tmp_path / name, contents(partner)) for name in ("a.zip", "b.zip", "c", "d")]
    assert len(set(digests)) == 1
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    for path in sorted((tmp_path / "c").iterdir()):
        assert path.read_bytes() == (tmp_path / "d" / path.name).read_bytes()


def test_the_zip_is_the_folder_stored_as_it_is(made: BundleContents, folder: Path, tmp_path: Path) -> None:
    write_bundle(tmp_path / "acme.zip", made)
    with zipfile.ZipFile(tmp_path / "acme.zip") as packed:
        assert sorted(packed.namelist()) == sorted(path.name for path in folder.iterdir())
        for info in packed.infolist():
            assert info.compress_type == zipfile.ZIP_STORED
            assert packed.read(info) == (folder / info.filename).read_bytes()


def test_neither_structures_nor_identifiers_nor_the_key_are_in_a_bundle(folder: Path) -> None:
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        for text in SMILES:
            assert len(text) < 6 or text.encode() not in content, path.name
        assert KEY.secret not in content
        assert KEY.secret.hex().encode() not in content
    assert KEY.commitment().encode() in (folder / "recipe.json").read_bytes()


@pytest.mark.parametrize("packed", [False, True])
def test_every_changed_byte_is_noticed_and_its_file_named(
    made: BundleContents, folder: Path, tmp_path: Path, packed: bool
) -> None:
    for victim in sorted(path.name for path in folder.iterdir()):
        content = (folder / victim).read_bytes()
        for place in sorted({0, len(content) // 3, len(content) // 2, len(content) - 1}):
            changed = bytes([*content[:place], content[place] ^ 1, *content[place + 1 :]])
            if packed:
                path = tmp_path / f"{victim}-{place}.zip"
                with zipfile.ZipFile(path, "w") as target:
                    for one in sorted(folder.iterdir()):
                        target.writestr(one.name, changed if one.name == victim else one.read_bytes())
            else:
                path = tmp_path / f"{victim}-{place}"
                shutil.copytree(folder, path)
                (path / victim).write_bytes(changed)
            with pytest.raises(BundleError, match=victim.replace(".", r"\.")):
                read_bundle(path)
    assert made.tasks


def test_a_damaged_zip_is_refused_or_has_the_same_contents(made: BundleContents, tmp_path: Path) -> None:
    write_bundle(tmp_path / "whole.zip", made)
    content = (tmp_path / "whole.zip").read_bytes()
    rng, damaged = np.random.default_rng(0), tmp_path / "damaged.zip"
    tail = len(content) - 700  # the directory at its end
    for place in [*rng.integers(0, len(content), 60).tolist(), *range(tail, len(content), 3)]:
        damaged.write_bytes(bytes([*content[:place], content[place] ^ 255, *content[place + 1 :]]))
        with contextlib.suppress(BundleError, InputError):
            assert same(read_bundle(damaged).contents, made)
    for length in (0, 1, 100, len(content) // 2, len(content) - 1):
        damaged.write_bytes(content[:length])
        with pytest.raises((BundleError, InputError)):
            read_bundle(damaged)


@pytest.mark.parametrize("victim", ["model.safetensors", "tasks.json", "CARD.md"])
def test_a_missing_file_is_named(folder: Path, tmp_path: Path, victim: str) -> None:
    shutil.copytree(folder, tmp_path / "b")
    (tmp_path / "b" / victim).unlink()
    with pytest.raises(BundleError, match=victim):
        read_bundle(tmp_path / "b")


def test_no_bundle_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "nowhere", tmp_path / "nowhere.zip", tmp_path / "empty"):
        with pytest.raises(InputError, match="is no bundle"):
            read_bundle(path)


def rewritten(folder: Path, target: Path, name: str, content: bytes) -> Path:
    """The bundle with one file replaced by somebody who knows how to make digests fit."""
    shutil.copytree(folder, target)
    files = {path.name: path.read_bytes() for path in target.iterdir() if path.name != MANIFEST}
    files[name] = content
    (target / name).write_bytes(content)
    (target / MANIFEST).write_bytes(_manifest(files)[0])
    return target


@pytest.mark.parametrize("name", ["model.safetensors", "calibration.safetensors", "network.json", "tasks.json",
                                  "recipe.json", "card.json"])  # fmt: skip
@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"null", b"\x80\x04K\x01.", b'[{"task_id":1}]'])
def test_parts_that_are_none_are_refused_even_where_the_digests_fit(
    folder: Path, tmp_path: Path, name: str, content: bytes
) -> None:
    with pytest.raises(BundleError):
        network_of(read_bundle(rewritten(folder, tmp_path / "b", name, content)).contents, "b")


def test_tensors_of_another_network_are_refused_by_name(folder: Path, tmp_path: Path, made: BundleContents) -> None:
    weights = dict(made.weights)
    weights["trunk.middle.0.weight"] = weights["trunk.middle.0.weight"][:, :-1].copy()
    path = rewritten(folder, tmp_path / "a", MODEL, safetensors.numpy.save(weights))
    with pytest.raises(BundleError, match=r"trunk\.middle\.0\.weight should have the shape \(10, 12\)"):
        network_of(read_bundle(path).contents, "a")
    del weights["trunk.middle.0.weight"]
    with pytest.raises(BundleError, match=r"trunk\.middle\.0\.weight .* found None"):
        network_of(replace(made, weights=weights), "b")


def test_tasks_that_the_network_does_not_have_are_refused(folder: Path, tmp_path: Path, made: BundleContents) -> None:
    last = max(range(len(made.tasks)), key=lambda i: made.tasks[i].column)
    tasks = (*made.tasks[:last], replace(made.tasks[last], column=99), *made.tasks[last + 1 :])
    path = rewritten(folder, tmp_path / "a", TASKS, encode_bundle_tasks(tasks))
    with pytest.raises(BundleError, match="is no column of"):
        network_of(read_bundle(path).contents, "a")
    path = rewritten(folder, tmp_path / "b", TASKS, encode_bundle_tasks(made.tasks[:-1]))
    with pytest.raises(BundleError, match="the same ones"):
        read_bundle(path)


def test_a_bundle_of_another_version_is_refused_by_its_version(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "b")
    document = json.loads((folder / MANIFEST).read_bytes())
    (tmp_path / "b" / MANIFEST).write_text(json.dumps({**document, "version": 3}))
    with pytest.raises(BundleError, match="version 3; this reads pharmonia bundle 1 and 2"):
        read_bundle(tmp_path / "b")


def test_a_bundle_of_version_1_is_read_and_its_domain_is_not_known(
    folder: Path, tmp_path: Path, made: BundleContents
) -> None:
    arrays = safetensors.numpy.load_file(folder / CALIBRATION)
    del arrays["domain.environments"]
    arrays["domain.seen"] = np.ones(SETTINGS.n_bits, dtype=np.bool_)
    card = json.loads((folder / CARD).read_bytes())
    del card["n_environments"]
    shutil.copytree(folder, tmp_path / "old")
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != MANIFEST}
    files |= {CALIBRATION: safetensors.numpy.save(arrays), CARD: canonical_json(card)}
    body = {**json.loads(_manifest(files)[0]), "version": 1}
    del body["sha256"]
    files[MANIFEST] = canonical_json({**body, "sha256": hashlib.sha256(canonical_json(body)).hexdigest()})
    for name, content in files.items():
        (tmp_path / "old" / name).write_bytes(content)
    found = read_bundle(tmp_path / "old").contents
    assert found.domain is None
    assert same(replace(found, domain=made.domain, card=made.card), made)


def test_a_bundle_is_never_overwritten(folder: Path, made: BundleContents) -> None:
    with pytest.raises(InputError, match="never overwritten"):
        write_bundle(folder, made)


def test_settings_and_tasks_come_back(made: BundleContents) -> None:
    assert decode_settings(encode_settings(SETTINGS), "x") == SETTINGS
    assert decode_bundle_tasks(encode_bundle_tasks(made.tasks), "x") == made.tasks


def test_formats_are_what_they_were(made: BundleContents) -> None:
    """Bytes that other programs read; change them only with the version."""
    task = next(task for task in made.tasks if task.task_id == "regression|solubility")
    assert encode_bundle_tasks([task]) == (
        b'[{"assay_id":"solubility","assay_type":"OTHER","catalogue_id":"solubility","column":0,"direction":null,'
        b'"head":"catalogue_regression","kind":"regression","task_id":"regression|solubility","threshold":null,'
        b'"unit":""}]'
    )
    assert encode_settings(SETTINGS) == (
        b'{"batch_size":24,"catalogue_classification":[],"catalogue_regression":["solubility"],"drop_round":10,'
        b'"dropout":0.1,"head":[6],"learning_rate":0.001,"local_epochs":2,"n_bits":512,"optimiser":"adam",'
        b'"regression_weight":0.4,"trunk":[12,10]}'
    )
    manifest, digest = _manifest({"b": b"two", "a": b""})
    assert json.loads(manifest) == {
        "format": "pharmonia bundle",
        "version": 2,
        "files": [
            {"name": "a", "n_bytes": 0, "sha256": hashlib.sha256(b"").hexdigest()},
            {"name": "b", "n_bytes": 3, "sha256": hashlib.sha256(b"two").hexdigest()},
        ],
        "sha256": digest,
    }
    body = {name: value for name, value in json.loads(manifest).items() if name != "sha256"}
    assert digest == hashlib.sha256(canonical_json(body)).hexdigest()
