"""Identity, agreement, permissions, plan and ledger (the consortium's record lands here)."""
