"""Kits: the same bytes for the same approval, what is wrong with one said clearly, and joins that touch nobody else."""

import json
import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from nvflare.fuel.sec.authz import AuthzContext, Person, parse_policy_config

from deploy_cases import (
    ENGINE,
    LATER,
    SERVER,
    files_of,
    make_authority,
    make_folder,
    make_under,
    mapping,
    with_gamma,
    with_zenith,
    without_cygnus,
    zenith_left,
)
from governance_cases import END, NOW, founded, key_of
from pharmonia.base.canonical import Json
from pharmonia.base.errors import (
    AgreementError,
    CertificateEndedError,
    CertificateError,
    InputError,
    KeyFileError,
    KitError,
    PharmoniaError,
    RefusedError,
)
from pharmonia.deploy.approvals import encode_approval
from pharmonia.deploy.authority import approve
from pharmonia.deploy.certificates import MIN_KEY_BITS
from pharmonia.deploy.check import check_kit, expiries, require_lasting
from pharmonia.deploy.folder import former_partners, make_kit, read_request, request_kit
from pharmonia.deploy.posts import Address
from pharmonia.deploy.workspace import EngineSettings
from pharmonia.governance.terms import Role
from pharmonia.run.files import write_whole

AUTHORIZATION = "server/local/authorization.json"


@pytest.fixture(scope="module", autouse=True)
def _small_keys() -> Iterator[None]:
    """Keys of the fewest bits that are accepted: larger ones are most of the time that these tests take."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pharmonia.deploy.certificates.KEY_BITS", MIN_KEY_BITS)
        yield


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The authority, the server's kit, and the sites of borealis and cygnus; never changed."""
    root = tmp_path_factory.mktemp("kits")
    authority = make_authority(root / "authority")
    make_folder(root, authority, "dynamo", Role.COORDINATOR)
    for partner in ("borealis", "cygnus"):
        make_folder(root, authority, partner, Role.DATA_OWNER)
    return root


@pytest.fixture
def site(root: Path, tmp_path: Path) -> Path:
    """A copy of borealis's kit, to be changed."""
    return Path(shutil.copytree(root / "borealis-data-owner", tmp_path / "kit"))


@pytest.fixture
def server(root: Path, tmp_path: Path) -> Path:
    """A copy of dynamo's kit, to be changed."""
    return Path(shutil.copytree(root / "dynamo-coordinator", tmp_path / "kit"))


def read(path: Path) -> dict[str, Json]:
    return mapping(json.loads(path.read_text(encoding="utf-8")))


def test_a_fresh_kit_passes_every_check(root: Path) -> None:
    for name in ("dynamo-coordinator", "borealis-data-owner"):
        check = check_kit(root / name, founded(), ENGINE, LATER)
        check.require()
        assert len(check.findings) >= 8


def test_a_kit_made_again_is_the_same_bytes(site: Path) -> None:
    before = files_of(site)
    assert make_kit(site, founded(), None, None, ENGINE, LATER) == ()
    assert files_of(site) == before


def test_private_keys_are_private_and_leave_the_folder_in_nothing(root: Path) -> None:
    for folder, keys in (("dynamo-coordinator", 2), ("borealis-data-owner", 1)):
        private = {path: path.read_bytes() for path in (root / folder).rglob("*.key")}
        assert len(private) == keys
        assert all(path.stat().st_mode & 0o777 == 0o600 for path in private)
        others = [content for path, content in files_of(root).items() if not path.endswith(".key")]
        for secret in private.values():
            body = secret.splitlines()[3]
            assert not any(body in content for content in others)


def test_no_file_of_a_kit_names_a_path_of_the_machine_that_made_it(root: Path) -> None:
    assert not any(str(root).encode() in content for content in files_of(root).values())


def test_a_partner_that_joins_changes_no_file_of_others(root: Path, tmp_path: Path) -> None:
    kits = Path(shutil.copytree(root, tmp_path / "kits"))
    before = files_of(kits)
    make_under(tmp_path, kits / "authority", with_gamma(), "gamma", Role.DATA_OWNER)
    for name in ("dynamo-coordinator", "borealis-data-owner", "cygnus-data-owner"):
        assert make_kit(kits / name, with_gamma(), None, None, ENGINE, LATER) == ()
        check_kit(kits / name, with_gamma(), ENGINE, LATER).require()
    after = files_of(kits)
    added = set(after) - set(before)
    assert len(added) == 1
    assert all(path.startswith("authority/issued/gamma-") for path in added)
    assert {path: after[path] for path in before} == before


def test_a_partner_that_leaves_changes_one_file_at_the_server_alone(root: Path, tmp_path: Path) -> None:
    kits = Path(shutil.copytree(root, tmp_path / "kits"))
    before = files_of(kits)
    assert former_partners(without_cygnus()) == ("cygnus",)
    with pytest.raises(KitError, match="lets in cygnus"):
        check_kit(kits / "dynamo-coordinator", without_cygnus(), ENGINE, LATER).require()
    changed = make_kit(kits / "dynamo-coordinator", without_cygnus(), None, None, ENGINE, LATER)
    assert changed == ("server/disabled_clients.json",)
    assert make_kit(kits / "borealis-data-owner", without_cygnus(), None, None, ENGINE, LATER) == ()
    path = "dynamo-coordinator/server/disabled_clients.json"
    after = files_of(kits)
    assert json.loads(after[path]) == {"disabled_clients": ["cygnus"]}
    assert {other for other in after if after[other] != before.get(other)} == {path}
    check_kit(kits / "dynamo-coordinator", without_cygnus(), ENGINE, LATER).require()
    with pytest.raises(AgreementError, match="not a partner"):
        make_kit(kits / "cygnus-data-owner", without_cygnus(), None, None, ENGINE, LATER)


def right(server: Path, operator: str, name: str) -> bool:
    """Whether the server's policy, read by NVFlare, gives an operator a right."""
    policy, error = parse_policy_config(read(server / "server/local/authorization.json"), {})
    assert not error
    user = Person(f"operator@{operator}.pharmonia", operator, "lead")
    allowed, _ = policy.evaluate("dynamo", AuthzContext(right=name, user=user, submitter=Person("", "", "")))
    return bool(allowed)


def test_the_operator_of_a_coordinator_that_left_keeps_its_certificate_and_no_right(server: Path) -> None:
    rights = ("submit_job", "view", "operate", "show_errors", "configure_job_log")
    assert make_kit(server, with_zenith(), None, None, ENGINE, LATER) == ("kit.json", AUTHORIZATION)
    check_kit(server, with_zenith(), ENGINE, LATER).require()
    assert all(right(server, one, name) for one in ("dynamo", "zenith") for name in rights)
    assert not right(server, "zenith", "byoc")
    with pytest.raises(KitError, match=f"has {AUTHORIZATION} as another version of Pharmonia or of the agreement"):
        check_kit(server, zenith_left(), ENGINE, LATER).require()
    assert make_kit(server, zenith_left(), None, None, ENGINE, LATER) == ("kit.json", AUTHORIZATION)
    check_kit(server, zenith_left(), ENGINE, LATER).require()
    assert not any(right(server, "zenith", name) for name in (*rights, "manage_job", "download_job"))
    assert all(right(server, "dynamo", name) for name in rights)


def test_whom_the_operator_turned_away_stays_away(server: Path) -> None:
    write_whole(server / "server/disabled_clients.json", b'{"disabled_clients": ["borealis"]}')
    check_kit(server, founded(), ENGINE, LATER).require()
    assert make_kit(server, without_cygnus(), None, None, ENGINE, LATER) == ("server/disabled_clients.json",)
    assert read(server / "server/disabled_clients.json") == {"disabled_clients": ["borealis", "cygnus"]}


def test_another_address_of_the_server_changes_what_names_it(site: Path) -> None:
    changed = make_kit(site, founded(), None, Address(host="fl.dynamo.example", port=8443), ENGINE, LATER)
    assert changed == ("helm/templates/network.yaml", "helm/values.yaml", "kit.json", "site/startup/fed_client.json")


def test_a_server_has_no_kit_for_a_host_that_its_certificate_does_not_name(server: Path) -> None:
    with pytest.raises(CertificateError, match=r"for fl\.dynamo\.example, not for fl\.other\.example"):
        make_kit(server, founded(), None, Address(host="fl.other.example", port=8002), ENGINE, LATER)


def test_a_kit_needs_an_answer_and_an_address(tmp_path: Path, root: Path) -> None:
    folder = tmp_path / "new"
    request_kit(folder, founded(), "borealis", Role.DATA_OWNER, (), key_of("borealis"), NOW)
    with pytest.raises(InputError, match="--approval"):
        make_kit(folder, founded(), None, SERVER, ENGINE, NOW)
    with pytest.raises(InputError, match="--server"):
        make_kit(folder, founded(), root / "borealis-data-owner.json", None, ENGINE, NOW)
    with pytest.raises(CertificateError, match="not for this one"):
        make_kit(folder, founded(), root / "borealis-data-owner.json", SERVER, ENGINE, NOW)
    with pytest.raises(KeyFileError, match="holds a request already"):
        request_kit(folder, founded(), "borealis", Role.DATA_OWNER, (), key_of("borealis"), NOW)


def test_a_refused_request_leaves_no_key_behind(tmp_path: Path) -> None:
    with pytest.raises(RefusedError):
        request_kit(tmp_path / "new", founded(), "borealis", Role.COORDINATOR, ("h",), key_of("borealis"), NOW)
    with pytest.raises(AgreementError):
        request_kit(tmp_path / "new", founded(), "borealis", Role.DATA_OWNER, (), key_of("cygnus"), NOW)
    assert not (tmp_path / "new").exists()


def other_authority(kit: Path, root: Path) -> None:
    """As somebody would who made an authority of the same name."""
    false = make_authority(kit.parent / "false")
    shutil.copy(false / "authority.pem", kit / "site/startup/rootCA.pem")


def other_authoritys_certificate(kit: Path, root: Path) -> None:
    false = make_authority(kit.parent / "false")
    signed = approve(false, read_request(kit / "request.json"), founded(), key_of("dynamo"), NOW)
    write_whole(kit / "site/startup/client.crt", signed.approval.certificates[0].pem.encode())


def other_partners_certificate(kit: Path, root: Path) -> None:
    shutil.copy(root / "cygnus-data-owner/site/startup/client.crt", kit / "site/startup/client.crt")


def other_partners_key(kit: Path, root: Path) -> None:
    shutil.copy(root / "cygnus-data-owner/site/startup/client.key", kit / "site/startup/client.key")


def readable_key(kit: Path, root: Path) -> None:
    (kit / "site/startup/client.key").chmod(0o640)


def no_key(kit: Path, root: Path) -> None:
    (kit / "site/startup/client.key").unlink()


def laxer_policy(kit: Path, root: Path) -> None:
    path = kit / "site/local/authorization.json"
    write_whole(path, path.read_bytes().replace(b'"byoc": "none"', b'"byoc": "any"'))


def code_beside(kit: Path, root: Path) -> None:
    write_whole(kit / "site/local/custom/evil.py", b"import os\n")


def overriding_resources(kit: Path, root: Path) -> None:
    write_whole(kit / "site/startup/site__p_resources.json", b"{}")


def damaged_certificate(kit: Path, root: Path) -> None:
    write_whole(kit / "site/startup/client.crt", b"-----BEGIN CERTIFICATE-----\nAA==\n")


@pytest.mark.parametrize(
    ("spoil", "error", "says"),
    [
        (other_authority, CertificateError, "not the approved one"),
        (other_authoritys_certificate, CertificateError, "but by another"),
        (other_partners_certificate, CertificateError, "names cygnus, of cygnus, expected borealis"),
        (other_partners_key, KitError, "not the key of the certificate"),
        (readable_key, KeyFileError, "chmod 600"),
        (no_key, KeyFileError, "No such file"),
        (laxer_policy, KitError, r"authorization\.json was changed"),
        (code_beside, KitError, "no file of the kit"),
        (overriding_resources, KitError, "no file of the kit"),
        (damaged_certificate, CertificateError, "damaged"),
    ],
)
def test_what_is_wrong_with_a_kit_is_said(
    site: Path, root: Path, spoil: Callable[[Path, Path], None], error: type[PharmoniaError], says: str
) -> None:
    spoil(site, root)
    with pytest.raises(error, match=says):
        check_kit(site, founded(), ENGINE, LATER).require()


def test_a_kit_of_another_agreement_or_after_its_time_is_said(site: Path) -> None:
    manifest = site / "kit.json"
    content = manifest.read_bytes()
    write_whole(manifest, content.replace(founded().versions[0].agreement.digest.encode(), b"ab" * 32))
    with pytest.raises(AgreementError, match="use the agreement that it was made under"):
        check_kit(site, founded(), ENGINE, LATER).require()
    write_whole(manifest, content)
    with pytest.raises(CertificateEndedError, match="expired 2027-11-21"):
        check_kit(site, founded(), ENGINE, NOW + timedelta(days=366)).require()
    with pytest.raises(AgreementError, match="ended"):
        check_kit(site, founded(), ENGINE, END + timedelta(days=1)).require()
    write_whole(manifest, content.replace(b'"role": "data-owner"', b'"role": "coordinator"'))
    with pytest.raises(RefusedError, match="not coordinator"):
        check_kit(site, founded(), ENGINE, LATER).require()
    with pytest.raises(KitError, match="deploy kit"):
        check_kit(site.parent, founded(), ENGINE, LATER)


def test_status_warns_from_thirty_days_before(root: Path) -> None:
    folders = (root / "authority", root / "dynamo-coordinator", root / "borealis-data-owner")
    found = expiries(folders, None)
    assert [one.name for one in found if one.place == folders[2]] == ["borealis, of borealis", "authority of aurora"]
    assert {one.name for one in found} == {
        "authority of aurora",
        "borealis, of borealis",
        "cygnus, of cygnus",
        "operator@dynamo.pharmonia, of dynamo, lead",
        "server.dynamo, of dynamo",
    }
    require_lasting(found, NOW + timedelta(days=334))
    for days in (335, 400):
        with pytest.raises(CertificateEndedError, match="borealis, of borealis on 2027-11-21"):
            require_lasting(found, NOW + timedelta(days=days))
    with pytest.raises(KitError):
        expiries((root,), None)


def test_status_of_an_authority_tells_of_renewed_certificates_only(root: Path, tmp_path: Path) -> None:
    authority = Path(shutil.copytree(root / "authority", tmp_path / "authority"))
    request_kit(tmp_path / "new", founded(), "borealis", Role.DATA_OWNER, (), key_of("borealis"), LATER)
    approve(authority, read_request(tmp_path / "new/request.json"), founded(), key_of("dynamo"), LATER)
    ends = {one.name: one.ends for one in expiries((authority,), None)}
    assert ends["borealis, of borealis"] == LATER + timedelta(days=365)
    assert len(ends) == 5


def test_status_of_an_authority_is_silent_on_who_has_left_if_it_knows_the_agreement(root: Path) -> None:
    names = {one.name for one in expiries((root / "authority",), without_cygnus().accepted()[-1])}
    assert names == {
        "authority of aurora",
        "borealis, of borealis",
        "operator@dynamo.pharmonia, of dynamo, lead",
        "server.dynamo, of dynamo",
    }


def test_a_renewed_kit_needs_nothing_of_others(root: Path, tmp_path: Path) -> None:
    request_kit(tmp_path / "new", founded(), "borealis", Role.DATA_OWNER, (), key_of("borealis"), LATER)
    request = read_request(tmp_path / "new/request.json")
    signed = approve(root / "authority", request, founded(), key_of("dynamo"), LATER)
    write_whole(tmp_path / "answer.json", encode_approval(signed))
    make_kit(tmp_path / "new", founded(), tmp_path / "answer.json", SERVER, ENGINE, LATER)
    old, new = files_of(root / "borealis-data-owner"), files_of(tmp_path / "new")
    assert {path for path in new if new[path] != old[path]} == {
        "approval.json",
        "kit.json",
        "request.json",
        "site/startup/client.crt",
        "site/startup/client.key",
    }


def test_a_kit_of_another_version_is_told_apart_and_made_again_without_a_new_approval(
    root: Path, tmp_path: Path
) -> None:
    site = Path(shutil.copytree(root / "borealis-data-owner", tmp_path / "kit"))
    resources = {**mapping(ENGINE.site["resources.json"]), "class_allow_list": ["pharmonia.engines.nvflare."]}
    before = EngineSettings(site={**ENGINE.site, "resources.json": resources}, server=ENGINE.server)
    assert make_kit(site, founded(), None, None, before, LATER) == ("kit.json", "site/local/resources.json")
    check_kit(site, founded(), before, LATER).require()
    with pytest.raises(KitError, match=r"site/local/resources\.json as another version of Pharmonia"):
        check_kit(site, founded(), ENGINE, LATER).require()
    make_kit(site, founded(), None, None, ENGINE, LATER)
    check_kit(site, founded(), ENGINE, LATER).require()


def test_the_sites_policy_lets_in_our_classes_no_code_and_no_shell(root: Path) -> None:
    local = root / "borealis-data-owner/site/local"
    resources = read(local / "resources.json")
    assert resources["class_allow_list"] == ["pharmonia.engines.nvflare.conduct_site.SiteExecutor"]
    assert resources["class_list_enforcement_mode"] == "enforce"
    assert resources["allow_log_streaming"] is False
    permissions = mapping(read(local / "authorization.json")["permissions"])
    assert list(permissions) == ["lead"]
    rights = mapping(permissions["lead"])
    assert {right for right in rights if rights[right] != "none"} == {"submit_job", "manage_job", "view"}
    assert {"byoc", "shell_commands", "operate", "download_job", "show_errors"} <= set(rights)
    assert read(local / "privacy.json") == {
        "scopes": [{"name": "aurora", "properties": {}}],
        "default_scope": "aurora",
    }
    server = mapping(read(root / "dynamo-coordinator/server/local/authorization.json")["permissions"])
    assert (mapping(server["lead"])["byoc"], mapping(server["lead"])["shell_commands"]) == ("none", "none")


def test_everything_names_one_address(root: Path) -> None:
    client = read(root / "borealis-data-owner/site/startup/fed_client.json")
    one = mapping(client["servers"][0] if isinstance(client["servers"], list) else None)
    assert one["service"] == {"target": "fl.dynamo.example:8002", "scheme": "grpc"}
    assert one["identity"] == "server.dynamo"
    served = read(root / "dynamo-coordinator/server/startup/fed_server.json")["servers"]
    there = mapping(served[0] if isinstance(served, list) else None)
    assert (there["service"], there["admin_port"]) == (one["service"], 8002)
    admin = mapping(read(root / "dynamo-coordinator/operator/startup/fed_admin.json")["admin"])
    assert (admin["host"], admin["port"]) == ("fl.dynamo.example", 8002)
    for file in (client["client"], there):
        assert mapping(file)["connection_security"] == "mtls"
