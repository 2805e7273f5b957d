"""The command that a kit's service is, and a unit of systemd for it on a plain Linux machine."""

from pharmonia.deploy.posts import SERVER, Address, Post

HOME = "/opt/pharmonia"  # where the unit expects Pharmonia's `venv` and the kit; edit the unit if they are elsewhere
_HEALTH_PORTS = (8080, 8081)  # on 127.0.0.1; the second where the server listens on the first


def service_arguments(post: Post, data: str, kit: str, server: Address) -> tuple[str, ...]:
    """What follows `pharmonia` on the line that starts a post's service.

    Args:
        post: Site or server.
        data: The folder with `site.toml` or `coordinator.toml`.
        kit: The folder with `kit.json`.
        server: Where the server listens.
    """
    side = "coordinator" if post == SERVER else "party"
    return side, "start", data, "--kit", kit, "--health", str(health_port(server))


def health_port(server: Address) -> int:
    """Where the service answers on 127.0.0.1."""
    return next(port for port in _HEALTH_PORTS if port != server.port)


def probe(page: str, server: Address) -> tuple[str, ...]:
    """A command, run beside the service, that fails unless a page of its health is fine; no proxy is asked.

    Args:
        page: `/healthz` or `/readyz`.
        server: Where the server listens.
    """
    ask = f"c = HTTPConnection('127.0.0.1', {health_port(server)}, timeout=5); c.request('GET', '{page}')"
    return "python3", "-c", f"from http.client import HTTPConnection; {ask}; exit(c.getresponse().status != 200)"


def service_file(post: Post, consortium: str, partner: str, server: Address) -> bytes:
    """The unit of a post: started again when it fails, without rights that it does not need."""
    kit, data = f"{HOME}/{consortium}", f"{HOME}/data"
    command = " ".join(service_arguments(post, data, kit, server))
    work = f"{kit}/{post.folder}"
    return f"""# It expects this kit at {kit}, owned by the user pharmonia, Pharmonia in {HOME}/venv, and the folder
# of the data in {data}; edit what is elsewhere, in a copy of this file.
[Unit]
Description=Pharmonia {post.folder} of {partner} in {consortium}
Wants=network-online.target
After=network-online.target

[Service]
User=pharmonia
WorkingDirectory={kit}
Environment=HOME=/tmp
ExecStart={HOME}/venv/bin/pharmonia {command}
Restart=on-failure
RestartSec=10
KillMode=mixed
UMask=0077
NoNewPrivileges=yes
CapabilityBoundingSet=
PrivateTmp=yes
ProtectHome=yes
ProtectSystem=strict
ReadWritePaths={work} -{data}
ReadOnlyPaths={work}/startup {work}/local
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX

[Install]
WantedBy=multi-user.target
""".encode()
