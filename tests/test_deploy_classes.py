"""What a site's kit lets a job name, asked of NVFlare's own check and of its own builder of components."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from nvflare.apis.fl_exception import UnsafeComponentError
from nvflare.app_common.widgets.component_path_authorizer import ComponentPathAuthorizer
from nvflare.fuel.common.excepts import ComponentNotAuthorized
from nvflare.fuel.utils.class_loader import load_class
from nvflare.fuel.utils.json_scanner import Node
from nvflare.private.json_configer import JsonConfigurator

from pharmonia.base.canonical import Json
from pharmonia.engines.nvflare import conduct_seat, conduct_site
from pharmonia.engines.nvflare.job import Job, write_job
from pharmonia.engines.nvflare.kits import CONTROLLER, EXECUTOR, server_files, site_files

OURS = "pharmonia.engines.nvflare"
STORE = {"path": f"{OURS}.conduct_seat.RunStore", "args": {"url": "sqlite:///took", "folder": "took"}}


def authorised(tmp_path: Path, resources: Json, config: Json) -> None:
    """As NVFlare decides at the site whose kit has these resources."""
    file = tmp_path / "resources.json"
    file.write_text(json.dumps(resources))
    ComponentPathAuthorizer().authorize_component_config(
        config, workspace=SimpleNamespace(get_resources_file_path=lambda: str(file))
    )


def built(tmp_path: Path, config: Json) -> object:
    """The component that NVFlare makes of it at a site."""
    job = tmp_path / "config_fed_client.json"
    job.write_text(json.dumps({"format_version": 2}))
    builder = JsonConfigurator(str(job), ["nvflare"], ["apis"])

    def refusal(component: Json, _context: object, _node: object) -> str:
        try:
            authorised(tmp_path, site_files()["resources.json"], component)
        except UnsafeComponentError as error:
            return str(error)
        return ""

    builder.set_component_build_authorizer(refusal)
    return builder.authorize_and_build_component(config, builder.config_ctx, Node(config))


def test_a_job_as_we_write_it_passes_the_kits_of_both_sides(tmp_path: Path) -> None:
    job = Job(run="run", partners=("acme", "borealis"), controller=CONTROLLER, executor=EXECUTOR, n_needed=2)
    config = write_job(job, tmp_path) / "app/config"
    [workflow] = json.loads((config / "config_fed_server.json").read_text())["workflows"]
    [executor] = json.loads((config / "config_fed_client.json").read_text())["executors"]
    authorised(tmp_path, server_files()["resources.json"], workflow)
    authorised(tmp_path, site_files()["resources.json"], executor["executor"])
    assert isinstance(built(tmp_path, executor["executor"]), conduct_site.SiteExecutor)
    assert load_class(workflow["path"]) is conduct_seat.SeatController


@pytest.mark.parametrize(
    "path",
    [
        f"{OURS}.conduct_seat.RunStore",
        f"{OURS}.supervisor.end_processes",
        f"{OURS}.supervisor.shutil.rmtree",
        f"{OURS}.conduct_site.open_site",
        f"{OURS}.conduct_site.SiteExecutorX",
        f"{OURS}.conduct_site",
        CONTROLLER,
    ],
)
def test_a_site_calls_nothing_that_our_modules_define_or_import_but_its_executor(tmp_path: Path, path: str) -> None:
    with pytest.raises(UnsafeComponentError, match="is not in allow_list"):
        authorised(tmp_path, site_files()["resources.json"], {"path": path, "args": {}})


def test_what_hangs_on_the_executor_is_no_module_that_could_be_opened(tmp_path: Path) -> None:
    path = f"{EXECUTOR}.open_party"
    authorised(tmp_path, site_files()["resources.json"], {"path": path})  # NVFlare takes longer paths for a package's
    with pytest.raises(TypeError, match="Can't load class"):
        load_class(path)


@pytest.mark.parametrize(
    "args",
    [
        {"run": STORE},
        {"run": {**STORE, "class_path": EXECUTOR}},
        {"run": [STORE]},
        {"run": {"inner": STORE}},
        {"class_attributes": {"run": STORE}},
        {"path": EXECUTOR, "run": STORE},  # arguments that look like a component themselves
        {"path": EXECUTOR, "args": {}, "run": {"path": EXECUTOR, "args": {"path": EXECUTOR, "run": STORE}}},
    ],
)
def test_arguments_of_the_executor_name_no_other_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: dict[str, Json]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ComponentNotAuthorized, ValueError), match="is not in allow_list"):
        built(tmp_path, {"path": EXECUTOR, "args": args})
    assert not (tmp_path / "took").exists()
