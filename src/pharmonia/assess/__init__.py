"""Should we join? Inventory, pilot and brief for a partner that decides: not built, see docs/joining.md."""
