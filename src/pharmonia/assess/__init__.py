"""Should we join? Inventory, pilot and brief for a partner that decides (not built; docs/joining.md says what is known)."""
