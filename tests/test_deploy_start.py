"""How a kit starts its service: unit, Compose file and chart run our commands on a kit that passes its check."""

import configparser
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped] # comes with NVFlare; its types do not
from typer.testing import CliRunner

from deploy_cases import ENGINE, LATER, SERVER, make_authority, make_folder, mapping
from governance_cases import founded
from pharmonia.base.canonical import Json
from pharmonia.base.errors import PharmoniaError
from pharmonia.cli.main import app
from pharmonia.deploy.certificates import MIN_KEY_BITS
from pharmonia.deploy.check import check_kit
from pharmonia.deploy.posts import SERVER as SERVER_POST
from pharmonia.deploy.posts import SITE, Address, Post
from pharmonia.deploy.services import health_port, probe, service_arguments
from pharmonia.engines.nvflare.health import Health, HealthServer
from pharmonia.governance.terms import Role

KITS = [("dynamo-coordinator", "server", "coordinator"), ("borealis-data-owner", "site", "party")]
COMMAND = ["start", "/data", "--kit", "/opt/kit", "--health", "8080"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The server's kit and the site of borealis, with keys of the fewest bits; never changed."""
    root = tmp_path_factory.mktemp("kits")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pharmonia.deploy.certificates.KEY_BITS", MIN_KEY_BITS)
        authority = make_authority(root / "authority")
        make_folder(root, authority, "dynamo", Role.COORDINATOR)
        make_folder(root, authority, "borealis", Role.DATA_OWNER)
        yield root


def read(path: Path) -> dict[str, Json]:
    return mapping(json.loads(path.read_text(encoding="utf-8")))


def maps(value: Json) -> list[dict[str, Json]]:
    assert isinstance(value, list)
    return [mapping(one) for one in value]


def texts(value: Json) -> list[str]:
    assert isinstance(value, list)
    return [str(one) for one in value]


def rendered(chart: Path, template: Path) -> dict[str, Json]:
    """A template of ours as Helm would render it: it holds nothing but values as JSON."""
    values = mapping(yaml.safe_load((chart / "values.yaml").read_text(encoding="utf-8")))

    def value(match: re.Match[str]) -> str:
        found: Json = values
        for name in match[1].split("."):
            found = mapping(found)[name]
        return json.dumps(found)

    text = template.read_text(encoding="utf-8")
    text = re.sub(r"\{\{ \.Values\.([a-zA-Z.]+) \| toJson \}\}", value, text)
    assert "{{" not in text
    return mapping(yaml.safe_load(text))


def require_schema(schema: dict[str, Json], value: Json, where: str) -> None:
    """The part of JSON Schema that ours uses."""
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    is_kind = {
        "object": isinstance(value, dict),
        "string": isinstance(value, str),
        "integer": isinstance(value, int),
        "null": value is None,
    }
    assert any(is_kind[str(kind)] for kind in kinds), where
    if isinstance(value, int):
        assert int(str(schema["minimum"])) <= value <= int(str(schema["maximum"])), where
    if isinstance(value, str):
        assert len(value) >= int(str(schema.get("minLength", 0))), where
        assert re.search(str(schema.get("pattern", "")), value), where
    if isinstance(value, dict):
        fields = mapping(schema.get("properties", {}))
        assert set(value) <= set(fields), where
        required = schema.get("required", [])
        assert isinstance(required, list)
        assert set(value) >= set(map(str, required)), where
        for name, inner in value.items():
            require_schema(mapping(fields[name]), inner, f"{where}.{name}")


@pytest.mark.parametrize(("name", "post", "side"), KITS)
def test_the_compose_file_serves_a_kit_that_only_the_workspace_of_can_be_written(
    root: Path, name: str, post: str, side: str
) -> None:
    tree = mapping(yaml.safe_load((root / name / "compose.yaml").read_text(encoding="utf-8")))
    assert re.fullmatch(r"[a-z0-9][a-z0-9_-]*", str(tree["name"]))
    service = mapping(mapping(tree["services"])[post])
    assert list(mapping(tree["services"])) == [post]
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    assert (service["entrypoint"], service["command"]) == (["pharmonia"], [side, *COMMAND])
    assert mapping(service["healthcheck"])["test"] == ["CMD", *probe("/healthz", SERVER)]
    volumes = maps(service["volumes"])
    assert {str(one["target"]): one["read_only"] for one in volumes} == {
        "/opt/kit": True,
        f"/opt/kit/{post}": False,
        f"/opt/kit/{post}/startup": True,
        f"/opt/kit/{post}/local": True,
        "/data": False,
    }
    assert all((root / name / str(one["source"])).is_dir() for one in volumes[:4])


def test_the_server_alone_opens_a_port_and_finds_itself_by_the_name_in_its_certificate(root: Path) -> None:
    for name, post, _ in KITS:
        tree = mapping(yaml.safe_load((root / name / "compose.yaml").read_text(encoding="utf-8")))
        service = mapping(mapping(tree["services"])[post])
        is_server = post == "server"
        assert service.get("ports") == (["8002:8002"] if is_server else None)
        assert service.get("extra_hosts") == (["fl.dynamo.example:127.0.0.1"] if is_server else None)


@pytest.mark.parametrize(("name", "post", "side"), KITS)
def test_the_charts_values_fit_their_schema_and_its_templates_render(
    root: Path, name: str, post: str, side: str
) -> None:
    chart = root / name / "helm"
    values = mapping(yaml.safe_load((chart / "values.yaml").read_text(encoding="utf-8")))
    require_schema(read(chart / "values.schema.json"), values, "values")
    assert mapping(yaml.safe_load((chart / "Chart.yaml").read_text(encoding="utf-8")))["apiVersion"] == "v2"
    found = {mapping(tree)["kind"]: tree for tree in (rendered(chart, one) for one in (chart / "templates").iterdir())}
    kinds = {"Deployment", "NetworkPolicy", "PersistentVolumeClaim"}
    assert set(found) == (kinds | {"Service"} if post == "server" else kinds)
    policy = mapping(found["NetworkPolicy"]["spec"])
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    opened = json.dumps([policy["ingress"], policy["egress"]])
    assert set(re.findall(r'"port": (\d+)', opened)) == {"8002", "53", *(["5432"] if post == "server" else [])}
    if post == "server":  # out to its store only, and as it comes to no machine but its own
        [store, names] = maps(policy["egress"])
        assert store["to"] == [{"ipBlock": {"cidr": "127.0.0.1/32"}}]
        assert "to" not in names
    else:
        assert policy["ingress"] == []
    pod = json.dumps(found["Deployment"])
    for part in ('"readOnlyRootFilesystem": true', '"runAsNonRoot": true', '"drop": ["ALL"]', '"defaultMode": 288'):
        assert part in pod
    assert pod.count('"readOnlyRootFilesystem": true') == 2
    assert ('"hostnames": ["fl.dynamo.example"]' in pod) == (post == "server")
    assert side in pod


def pod_of(chart: Path) -> dict[str, Json]:
    """The pod of a chart's only workload."""
    spec = mapping(rendered(chart, chart / "templates/workload.yaml")["spec"])
    return mapping(mapping(spec["template"])["spec"])


@pytest.mark.parametrize(("name", "post", "side"), KITS)
def test_the_charts_container_serves_and_is_asked_for_its_health_from_inside(
    root: Path, name: str, post: str, side: str
) -> None:
    [container] = maps(pod_of(root / name / "helm")["containers"])
    assert container["command"] == ["pharmonia", side, *COMMAND]
    for kind, page in (("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        assert mapping(mapping(container[kind])["exec"])["command"] == list(probe(page, SERVER))
    written = {str(one["mountPath"]) for one in maps(container["volumeMounts"]) if not one.get("readOnly")}
    assert written == {f"/opt/kit/{post}", "/data", "/tmp"}  # noqa: S108
    assert "ports" not in container


@pytest.mark.parametrize(("name", "post", "side"), KITS)
def test_the_charts_secret_unpacks_into_a_kit_that_passes_every_check(
    root: Path, tmp_path: Path, name: str, post: str, side: str
) -> None:
    chart, work = root / name / "helm", tmp_path / "work"
    line = next(one for one in (chart / "values.yaml").read_text().splitlines() if one.startswith("# tar -c "))
    tar, kubectl = line.removeprefix("# ").split(" | ")
    assert kubectl == f"kubectl create secret generic pharmonia-aurora-{post}-kit --from-file=kit.tar=/dev/stdin"
    archive = tmp_path / "kit.tar"
    archive.write_bytes(subprocess.run(shlex.split(tar), cwd=root / name, check=True, capture_output=True).stdout)
    assert archive.stat().st_size < 2**20  # of a Secret
    work.mkdir()
    [unpack] = maps(pod_of(chart)["initContainers"])
    words = {"python3": sys.executable, "/kit/kit.tar": str(archive), "/opt/kit": str(work)}
    subprocess.run([words.get(word, word) for word in texts(unpack["command"])], check=True, capture_output=True)
    if post == "server":
        shutil.copy(root / name / "server/disabled_clients.json", work / "server")  # of the volume of the workspace
    check_kit(work, founded(), ENGINE, LATER).require()
    assert {path.name for path in work.iterdir()} <= {"kit.json", "request.json", "approval.json", post, "operator"}


@pytest.mark.parametrize(("name", "post", "side"), KITS)
def test_the_unit_of_systemd_parses_and_starts_the_service(root: Path, name: str, post: str, side: str) -> None:
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(root / name / f"{post}.service", encoding="utf-8")
    own = unit["Service"]
    home = "/opt/pharmonia"
    kit = f"{home}/aurora"
    assert own["ExecStart"] == f"{home}/venv/bin/pharmonia {side} start {home}/data --kit {kit} --health 8080"
    assert (own["User"], own["Restart"]) == ("pharmonia", "on-failure")
    assert own["ReadWritePaths"] == f"{kit}/{post} -{home}/data"
    assert own["ReadOnlyPaths"] == f"{kit}/{post}/startup {kit}/{post}/local"
    assert unit.sections() == ["Unit", "Service", "Install"]


@pytest.mark.parametrize("post", [SERVER_POST, SITE])
def test_the_command_of_a_kit_is_one_that_there_is(post: Post) -> None:
    side, start, *rest = service_arguments(post, "no-data", "no-kit", SERVER)
    result = CliRunner().invoke(app, [side, start, *rest])
    assert isinstance(result.exception, PharmoniaError)  # a usage error would be another
    assert "no-data" in str(result.exception)


def test_what_starts_a_kit_is_its_owners_to_edit(root: Path, tmp_path: Path) -> None:
    kit = Path(shutil.copytree(root / "borealis-data-owner", tmp_path / "kit"))
    for path in ("site.service", "compose.yaml", "helm/values.yaml"):
        (kit / path).write_text("edited")
    check_kit(kit, founded(), ENGINE, LATER).require()


def test_health_answers_on_another_port_than_the_server() -> None:
    assert health_port(Address(host="fl.dynamo.example", port=8080)) == 8081


@pytest.mark.parametrize("is_ready", [True, False])
def test_a_probe_says_by_its_exit_whether_a_page_is_fine(is_ready: bool) -> None:
    with HealthServer(0, lambda: is_ready, lambda: Health(service="borealis", figures=())) as server:
        for page, is_fine in (("/healthz", True), ("/readyz", is_ready)):
            words = [word.replace("8080", str(server.port)) for word in probe(page, SERVER)]
            ended = subprocess.run([sys.executable, *words[1:]], check=False, capture_output=True)
            assert (ended.returncode == 0) is is_fine
