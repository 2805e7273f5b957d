"""Start-up kits: requests, approvals, and what is rendered from them; read `folder` first."""
