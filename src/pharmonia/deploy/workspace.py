"""NVFlare's workspace of one post, as the files of its `startup` and `local` folders (NVFlare 2.9.0).

The permissions are narrow: no code from outside (`byoc: none`), no shell commands, and nobody but the consortium's
operator may submit a job. Which classes a job may name, and what is logged, the engine's adapter says.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pharmonia.base.canonical import Json
from pharmonia.deploy.posts import OPERATOR, OPERATOR_ROLE, SERVER, SITE, Address, Post
from pharmonia.governance.documents import render


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """What the engine's adapter wants to stand in `local`, by file name; `deploy` knows no engine.

    Args:
        site: At a data owner.
        server: At the coordinator.
    """

    site: Mapping[str, Json]
    server: Mapping[str, Json]


def workspace_files(
    post: Post,
    consortium: str,
    partner: str,
    coordinator: str,
    operating: tuple[str, ...],
    server: Address,
    engine: EngineSettings,
) -> dict[str, bytes]:
    """The files of a post by path in its workspace, without keys and certificates.

    Args:
        post: Site, server or operator.
        consortium: Its id; NVFlare's project.
        partner: Whose machine it is.
        coordinator: Who runs the server; its certificate must say so.
        operating: Coordinators, whose operators the server obeys; others' have a certificate still, and no rights.
        server: Where it listens.
        engine: Of the engine's adapter.
    """
    identity = SERVER.subject(coordinator).name
    if post == OPERATOR:
        return {
            "startup/fed_admin.json": render(_fed_admin(consortium, partner, identity, server)),
            "local/resources.json": render(_operator_resources()),
            "transfer/about.txt": b"Files that the operator sends and fetches with NVFlare's console lie here.\n",
        }
    if post == SERVER:
        named: Json = [f"n:{OPERATOR.subject(one).name}" for one in operating]
        files = {
            "startup/fed_server.json": render(_fed_server(consortium, identity, server)),
            "startup/start.sh": _start(SERVER, "fed_server.json", f"org={partner}", server),
            "local/authorization.json": render(
                _permissions(named, operate=named, download="n:submitter", errors=named)
            ),
        }
    else:
        files = {
            "startup/fed_client.json": render(_fed_client(consortium, partner, identity, server)),
            "startup/start.sh": _start(SITE, "fed_client.json", f"uid={partner} org={partner}", server),
            "local/authorization.json": render(_permissions("any", operate="none", download="none", errors="none")),
        }
    files["local/privacy.json"] = render(_privacy(consortium))
    own = engine.server if post == SERVER else engine.site
    return {**files, **{f"local/{name}": render(content) for name, content in own.items()}}


def _fed_client(consortium: str, partner: str, identity: str, server: Address) -> Json:
    return {
        "format_version": 2,
        "servers": [
            {"name": consortium, "service": {"target": str(server), "scheme": "grpc"}, "identity": identity},
        ],
        "client": {
            **_tls(SITE),
            "fqsn": partner,
            "is_leaf": True,
        },
    }


def _fed_server(consortium: str, identity: str, server: Address) -> Json:
    one = {
        "name": consortium,
        "service": {"target": str(server), "scheme": "grpc"},
        "admin_server": identity,
        "admin_port": server.port,  # the same: there is one port
        **_tls(SERVER),
    }
    return {"format_version": 2, "servers": [one]}


def _fed_admin(consortium: str, partner: str, identity: str, server: Address) -> Json:
    return {
        "format_version": 1,
        "admin": {
            "project_name": consortium,
            "username": OPERATOR.subject(partner).name,
            "server_identity": identity,
            "scheme": "grpc",
            "host": server.host,
            "port": server.port,
            "connection_security": "mtls",
            "uid_source": "user_input",
            "with_file_transfer": True,
            "upload_dir": "transfer",
            "download_dir": "transfer",
            "client_key": OPERATOR.key_file,
            "client_cert": OPERATOR.certificate_file,
            "ca_cert": "rootCA.pem",
        },
    }


def _tls(post: Post) -> Mapping[str, Json]:
    return {
        "ssl_private_key": post.key_file,
        "ssl_cert": post.certificate_file,
        "ssl_root_cert": "rootCA.pem",
        "connection_security": "mtls",
    }


def _operator_resources() -> Json:
    admin: Json = {
        "idle_timeout": 900.0,
        "login_timeout": 10.0,
        "with_debug": False,
        "authenticate_msg_timeout": 2.0,
        "prompt": "> ",
    }
    return {"format_version": 1, "admin": admin}


def _permissions(lead: Json, *, operate: Json, download: str, errors: Json) -> Json:
    """Rights of the one role that the authority signs for; a role that is not named has none.

    What NVFlare notes of errors and how much it logs is a site's own, though NVFlare counts both among viewing and
    managing.
    """
    rights = {
        "submit_job": lead,
        "clone_job": "none",
        "manage_job": "n:submitter",
        "download_job": download,
        "view": lead,
        "show_errors": errors,
        "show_stats": errors,
        "configure_job_log": errors,
        "operate": operate,
        "shell_commands": "none",
        "byoc": "none",
        "server-predeployed-flwr": "none",
    }
    return {"format_version": "1.0", "permissions": {OPERATOR_ROLE: rights}}


def _privacy(consortium: str) -> Json:
    """One scope: a job that asks for another is refused."""
    return {"scopes": [{"name": consortium, "properties": {}}], "default_scope": consortium}


def _start(post: Post, settings: str, names: str, server: Address) -> bytes:
    side = "server" if post == SERVER else "client"
    module, data = f"nvflare.private.fed.app.{side}.{side}_train", post.data_variable
    return f"""#!/bin/sh
# Runs this kit's process in the foreground; SIGTERM ends it. PHARMONIA_PYTHON names the Python that has Pharmonia.
set -eu
umask 077
here=$(cd "$(dirname "$0")/.." && pwd)
case "$here" in
    *[[:space:]\\"\\'\\\\\\#]*)
        printf '%s: NVFlare can start no job in a path with a space, a quote, a backslash or a #\\n' "$here" >&2
        exit 2 ;;
esac
case "${{{data}:-}}" in
    "" | /*) ;;
    *) export {data}="$PWD/${data}" ;;  # NVFlare changes into its own folder
esac
export no_grpc_proxy="${{no_grpc_proxy:-${{no_proxy:-}}}},{server.host}"  # one connection, direct
exec "${{PHARMONIA_PYTHON:-python3}}" -m {module} -m "$here" -s {settings} \\
    --set secure_train=true {names} config_folder=config
""".encode()
