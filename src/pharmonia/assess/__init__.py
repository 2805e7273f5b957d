"""Should we join? Inventory, pilot and brief for a partner that decides (lands here)."""
