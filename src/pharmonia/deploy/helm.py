"""A small Helm chart for a kit: its values, their schema, and templates that hold nothing but values."""

from collections.abc import Mapping

from pharmonia.base.canonical import Json
from pharmonia.deploy.approvals import KitApproval
from pharmonia.deploy.compose import DATA, LOOPBACK, WORK
from pharmonia.deploy.files import APPROVAL, MANIFEST, REQUEST
from pharmonia.deploy.posts import SERVER, Address, Post, posts_of
from pharmonia.deploy.services import probe, service_arguments
from pharmonia.deploy.yamltext import yaml_text
from pharmonia.governance.documents import render

USER = 10001  # of no one else in the container
_SECRET, _ARCHIVE = "/kit", "kit.tar"  # in the container that unpacks it
_PAPERS = (MANIFEST, REQUEST, APPROVAL)
_PARTS = {"site": ("startup", "local"), "server": ("startup", "local"), "operator": ("startup", "local", "transfer")}
_CONFINED: Json = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def helm_files(approval: KitApproval, server: Address) -> Mapping[str, bytes]:
    """The chart's files by path; keys, settings and papers come from a Secret that you make from the kit."""
    posts = posts_of(approval.role)
    post = posts[0]
    name = f"pharmonia-{approval.consortium}-{post.folder}"
    files = {
        "Chart.yaml": yaml_text(_chart(name, approval, post)).encode(),
        "values.yaml": _values(name, server, post, tuple(one.folder for one in posts)).encode(),
        "values.schema.json": render(_schema(post)),
        "templates/workload.yaml": yaml_text(_workload(name, post, server)).encode(),
        "templates/storage.yaml": yaml_text(_storage(name)).encode(),
        "templates/network.yaml": yaml_text(_network(name, server, post)).encode(),
    }
    if post == SERVER:
        files["templates/service.yaml"] = yaml_text(_service(name, server)).encode()
    return {path: _unquoted(content) for path, content in files.items()}


def _value(path: str) -> str:
    return f"<<{path}>>"


def _unquoted(content: bytes) -> bytes:
    """Values in place of their marks: YAML's quotes around a mark go, and Helm writes the value as JSON."""
    return content.replace(b'"<<', b"{{ .Values.").replace(b'>>"', b" | toJson }}")


def _chart(name: str, approval: KitApproval, post: Post) -> Mapping[str, Json]:
    return {
        "apiVersion": "v2",
        "name": name,
        "description": f"Pharmonia, {post.folder} of {approval.partner} in {approval.consortium}",
        "type": "application",
        "version": "1.0.0",
    }


_STORE = """store:
  # where the PostgreSQL server is, if store_url names one; as it is, nothing of another machine
  cidr: "127.0.0.1/32"
  port: 5432
"""


def _values(name: str, server: Address, post: Post, folders: tuple[str, ...]) -> str:
    parts = " ".join(f"{folder}/{part}" for folder in folders for part in _PARTS[folder])
    store = _STORE if post == SERVER else ""
    return f"""# in the folder of the kit:
# tar -c {" ".join(_PAPERS)} {parts} | kubectl create secret generic {name}-kit --from-file={_ARCHIVE}=/dev/stdin
# an image that has Pharmonia, by digest rather than by tag
image: "pharmonia:latest"
kitSecret: "{name}-kit"
# the claim that holds the folder of your data, owned by the user {USER}, its keys of mode 0600
dataClaim: "pharmonia-data"
storage:
  size: "20Gi"
  storageClass: null # the cluster's own default
peer:
  # {"whence partners may connect" if post == SERVER else f"where the server {server} is"}; narrow it
  cidr: "0.0.0.0/0"
{store}resources:
  cpu: "4"
  memory: "16Gi"
"""


def _schema(post: Post) -> Json:
    def holds(fields: Mapping[str, Json]) -> Json:
        return {"type": "object", "additionalProperties": False, "required": sorted(fields), "properties": fields}

    text: Json = {"type": "string", "minLength": 1}
    cidr: Json = {"type": "string", "pattern": "^[0-9a-fA-F.:]+/[0-9]{1,3}$"}
    fields: dict[str, Json] = {
        "image": text,
        "kitSecret": text,
        "dataClaim": text,
        "storage": holds({"size": text, "storageClass": {"type": ["string", "null"]}}),
        "peer": holds({"cidr": cidr}),
        "resources": holds({"cpu": text, "memory": text}),
        "global": {"type": "object"},
    }
    if post == SERVER:
        number: Json = {"type": "integer", "minimum": 1, "maximum": 65535}
        fields["store"] = holds({"cidr": cidr, "port": number})
    schema = holds(fields)
    required = sorted(set(fields) - {"global"})
    return {"$schema": "http://json-schema.org/draft-07/schema#", **_mapping(schema), "required": required}


def _mapping(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, Mapping) else {}


def _workload(name: str, post: Post, server: Address) -> Mapping[str, Json]:
    volumes: list[Json] = [
        {"name": "archive", "secret": {"secretName": _value("kitSecret"), "defaultMode": 0o440}},
        {"name": "kit", "emptyDir": {"medium": "Memory"}},
        {"name": "work", "persistentVolumeClaim": {"claimName": name}},
        {"name": "data", "persistentVolumeClaim": {"claimName": _value("dataClaim")}},
        {"name": "tmp", "emptyDir": {}},
    ]
    pod: dict[str, Json] = {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 30,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",  # else each start lets the group read the keys among the data
        },
        "initContainers": [_unpacker()],
        "containers": [_container(post, server)],
        "volumes": volumes,
    }
    if post == SERVER and not server.is_numeric:
        pod["hostAliases"] = [{"ip": LOOPBACK, "hostnames": [server.host]}]  # its own operator dials it by that name
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "replicas": 1,
            "strategy": {"type": "Recreate"},  # never two of one name
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def _unpacker() -> Json:
    """Puts the kit into memory as its owner's own files: in a mounted Secret keys are links that a group may read."""
    return {
        "name": "unpack",
        "image": _value("image"),
        "command": ["python3", "-m", "tarfile", "-e", f"{_SECRET}/{_ARCHIVE}", WORK],
        "securityContext": _CONFINED,
        "volumeMounts": [
            {"name": "archive", "mountPath": _SECRET, "readOnly": True},
            {"name": "kit", "mountPath": WORK},
        ],
    }


def _container(post: Post, server: Address) -> Json:
    work = f"{WORK}/{post.folder}"
    own: list[Json] = [
        {"name": "kit", "mountPath": f"{work}/{part}", "subPath": f"{post.folder}/{part}", "readOnly": True}
        for part in _PARTS[post.folder]
    ]
    mounts: list[Json] = [
        {"name": "kit", "mountPath": WORK, "readOnly": True},
        {"name": "work", "mountPath": work},
        *own,
        {"name": "data", "mountPath": DATA},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
    ]
    amounts = {"cpu": _value("resources.cpu"), "memory": _value("resources.memory")}
    return {
        "name": post.folder,
        "image": _value("image"),
        "command": ["pharmonia", *service_arguments(post, DATA, WORK, server)],
        "workingDir": WORK,
        "env": [{"name": "HOME", "value": "/tmp"}],  # noqa: S108
        "securityContext": _CONFINED,
        "livenessProbe": {**_probe("/healthz", server), "initialDelaySeconds": 60, "periodSeconds": 30},
        "readinessProbe": {**_probe("/readyz", server), "periodSeconds": 10},
        "resources": {"requests": amounts, "limits": {"memory": _value("resources.memory")}},
        "volumeMounts": mounts,
    }


def _probe(page: str, server: Address) -> Mapping[str, Json]:
    """Inside the container: the page is on its loopback interface alone."""
    return {"exec": {"command": list(probe(page, server))}, "timeoutSeconds": 10, "failureThreshold": 3}


def _storage(name: str) -> Mapping[str, Json]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": _value("storage.storageClass"),
            "resources": {"requests": {"storage": _value("storage.size")}},
        },
    }


def _network(name: str, server: Address, post: Post) -> Mapping[str, Json]:
    """One port: a site reaches the server and names, nobody reaches it; a server is reached, and reaches a store."""
    peer: Json = [{"ipBlock": {"cidr": _value("peer.cidr")}}]
    port: Json = [{"protocol": "TCP", "port": server.port}]
    store: Json = [{"ipBlock": {"cidr": _value("store.cidr")}}]
    stored: Json = [{"protocol": "TCP", "port": _value("store.port")}]
    names: Json = {"ports": [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]}
    ways: Mapping[str, Json] = (
        {"ingress": [{"from": peer, "ports": port}], "egress": [{"to": store, "ports": stored}, names]}
        if post == SERVER
        else {"ingress": [], "egress": [{"to": peer, "ports": port}, names]}
    )
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name},
        "spec": {"podSelector": {"matchLabels": {"app": name}}, "policyTypes": ["Ingress", "Egress"], **ways},
    }


def _service(name: str, server: Address) -> Mapping[str, Json]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {
            "type": "LoadBalancer",
            "publishNotReadyAddresses": True,  # sites stay connected whatever becomes of a run
            "selector": {"app": name},
            "ports": [{"name": "grpc", "protocol": "TCP", "port": server.port, "targetPort": server.port}],
        },
    }
