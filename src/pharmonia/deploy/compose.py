"""A Compose file for a kit (Compose Specification)."""

from pharmonia.base.canonical import Json
from pharmonia.deploy.approvals import KitApproval
from pharmonia.deploy.posts import SERVER, Address, posts_of
from pharmonia.deploy.services import probe, service_arguments
from pharmonia.deploy.yamltext import yaml_text

WORK, DATA = "/opt/kit", "/data"  # in the container: the kit, and the folder that is served
LOOPBACK = "127.0.0.1"


def compose_file(approval: KitApproval, server: Address) -> bytes:
    """One service: the site, or the server with its port; everything that it may not change is read-only.

    The image and the owner of this folder are the operator's to name, in the environment or in a file `.env`.
    """
    post = posts_of(approval.role)[0]
    work = f"{WORK}/{post.folder}"
    volumes: list[Json] = [
        _mount(".", WORK, read_only=True),
        _mount(f"./{post.folder}", work, read_only=False),
        *(_mount(f"./{post.folder}/{part}", f"{work}/{part}", read_only=True) for part in ("startup", "local")),
        _mount(f"${{{post.data_variable}:?name the folder of your data}}", DATA, read_only=False),
    ]
    service: dict[str, Json] = {
        "image": "${PHARMONIA_IMAGE:?name an image that has Pharmonia}",
        "entrypoint": ["pharmonia"],
        "command": list(service_arguments(post, DATA, WORK, server)),
        "user": "${PHARMONIA_USER:?name the owner of this folder, as uid:gid}",
        "environment": {"HOME": "/tmp"},  # noqa: S108
        "working_dir": WORK,
        "init": True,
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "tmpfs": ["/tmp"],  # noqa: S108
        "restart": "unless-stopped",
        "stop_grace_period": "30s",
        "healthcheck": {
            "test": ["CMD", *probe("/healthz", server)],
            "interval": "30s",
            "timeout": "10s",
            "retries": 3,
            "start_period": "60s",
        },
    }
    if post == SERVER:
        service["ports"] = [f"{server.port}:{server.port}"]
        if not server.is_numeric:
            service["extra_hosts"] = [f"{server.host}:{LOOPBACK}"]  # its own operator dials it by that name
    service["volumes"] = volumes
    name = f"pharmonia-{approval.consortium}-{approval.partner}-{post.folder}"
    head = f"# Pharmonia, {post.folder} of {approval.partner} in {approval.consortium}: docker compose up -d\n"
    return f"{head}{yaml_text({'name': name, 'services': {post.folder: service}})}".encode()


def _mount(source: str, target: str, *, read_only: bool) -> Json:
    return {"type": "bind", "source": source, "target": target, "read_only": read_only}
