"""A small Helm chart for a kit: its values, their schema, and templates that hold nothing but values."""

from collections.abc import Mapping

from pharmonia.base.canonical import Json
from pharmonia.deploy.approvals import KitApproval
from pharmonia.deploy.compose import DATA, WORK
from pharmonia.deploy.posts import SERVER, Address, Post, posts_of
from pharmonia.deploy.yamltext import yaml_text
from pharmonia.governance.documents import render

USER = 10001  # of no one else in the container


def helm_files(approval: KitApproval, server: Address) -> Mapping[str, bytes]:
    """The chart's files by path; keys and settings come from a Secret and a ConfigMap that you make from the kit."""
    post = posts_of(approval.role)[0]
    name = f"pharmonia-{approval.consortium}-{post.folder}"
    files = {
        "Chart.yaml": yaml_text(_chart(name, approval, post)).encode(),
        "values.yaml": _values(name, server, post).encode(),
        "values.schema.json": render(_schema()),
        "templates/workload.yaml": yaml_text(_workload(name, post)).encode(),
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


def _values(name: str, server: Address, post: Post) -> str:
    folder = post.folder
    return f"""# kubectl create secret generic {name}-startup --from-file={folder}/startup
# kubectl create configmap {name}-local --from-file={folder}/local
# an image that has Pharmonia, by digest rather than by tag
image: "pharmonia:latest"
startupSecret: "{name}-startup"
localConfigMap: "{name}-local"
# the claim that holds the folder of your data
dataClaim: "pharmonia-data"
storage:
  size: "20Gi"
  storageClass: null # the cluster's own default
peer:
  # {"whence partners may connect" if post == SERVER else f"where the server {server} is"}; narrow it
  cidr: "0.0.0.0/0"
resources:
  cpu: "4"
  memory: "16Gi"
"""


def _schema() -> Json:
    def holds(fields: Mapping[str, Json]) -> Json:
        return {"type": "object", "additionalProperties": False, "required": sorted(fields), "properties": fields}

    text: Json = {"type": "string", "minLength": 1}
    fields: dict[str, Json] = {
        "image": text,
        "startupSecret": text,
        "localConfigMap": text,
        "dataClaim": text,
        "storage": holds({"size": text, "storageClass": {"type": ["string", "null"]}}),
        "peer": holds({"cidr": {"type": "string", "pattern": "^[0-9a-fA-F.:]+/[0-9]{1,3}$"}}),
        "resources": holds({"cpu": text, "memory": text}),
        "global": {"type": "object"},
    }
    schema = holds(fields)
    required = sorted(set(fields) - {"global"})
    return {"$schema": "http://json-schema.org/draft-07/schema#", **_mapping(schema), "required": required}


def _mapping(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, Mapping) else {}


def _workload(name: str, post: Post) -> Mapping[str, Json]:
    volumes: list[Json] = [
        {"name": "work", "persistentVolumeClaim": {"claimName": name}},
        {"name": "startup", "secret": {"secretName": _value("startupSecret"), "defaultMode": 0o440}},
        {"name": "local", "configMap": {"name": _value("localConfigMap")}},
        {"name": "data", "persistentVolumeClaim": {"claimName": _value("dataClaim")}},
        {"name": "tmp", "emptyDir": {}},
    ]
    pod: Json = {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 30,
        "securityContext": {"runAsNonRoot": True, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER},
        "containers": [_container(post)],
        "volumes": volumes,
    }
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


def _container(post: Post) -> Json:
    mounts: list[Json] = [
        {"name": "work", "mountPath": WORK},
        {"name": "startup", "mountPath": f"{WORK}/startup", "readOnly": True},
        {"name": "local", "mountPath": f"{WORK}/local", "readOnly": True},
        {"name": "data", "mountPath": DATA},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
    ]
    amounts = {"cpu": _value("resources.cpu"), "memory": _value("resources.memory")}
    return {
        "name": post.folder,
        "image": _value("image"),
        "command": ["sh", f"{WORK}/startup/start.sh"],
        "workingDir": WORK,
        "env": [{"name": "HOME", "value": "/tmp"}, {"name": post.data_variable, "value": DATA}],  # noqa: S108
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "resources": {"requests": amounts, "limits": {"memory": _value("resources.memory")}},
        "volumeMounts": mounts,
    }


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
    """One port: a site reaches the server and names, and nobody reaches it; a server is reached, and reaches nobody."""
    peer: Json = [{"ipBlock": {"cidr": _value("peer.cidr")}}]
    port: Json = [{"protocol": "TCP", "port": server.port}]
    names: Json = {"ports": [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]}
    ways: Mapping[str, Json] = (
        {"ingress": [{"from": peer, "ports": port}], "egress": []}
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
            "selector": {"app": name},
            "ports": [{"name": "grpc", "protocol": "TCP", "port": server.port, "targetPort": server.port}],
        },
    }
