"""A unit of systemd for a kit on a plain Linux machine."""

from pharmonia.deploy.posts import Post

HOME = "/opt/pharmonia"  # where the unit expects Pharmonia's `venv` and the kit; edit the unit if they are elsewhere


def service_file(post: Post, consortium: str, partner: str) -> bytes:
    """The unit of a post: restarted when it ends, without rights that it does not need."""
    kit = f"{HOME}/{consortium}"
    return f"""# It expects this kit at {kit}, owned by the user pharmonia, Python with Pharmonia in {HOME}/venv,
# and its data in {HOME}/data; edit what is elsewhere.
[Unit]
Description=Pharmonia {post.folder} of {partner} in {consortium}
Wants=network-online.target
After=network-online.target

[Service]
User=pharmonia
WorkingDirectory={kit}
Environment=PHARMONIA_PYTHON={HOME}/venv/bin/python {post.data_variable}={HOME}/data
ExecStart=/bin/sh {kit}/{post.folder}/startup/start.sh
Restart=always
RestartSec=10
KillMode=control-group
UMask=0077
NoNewPrivileges=yes
CapabilityBoundingSet=
PrivateTmp=yes
ProtectHome=yes
ProtectSystem=strict
ReadWritePaths={kit}/{post.folder} -{HOME}/data
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX

[Install]
WantedBy=multi-user.target
""".encode()
