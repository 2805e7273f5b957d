"""Start-up kits, Helm values and cloud templates (land here)."""
