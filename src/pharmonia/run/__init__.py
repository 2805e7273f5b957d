"""The effectful shell: data sets on disk, party, coordinator, store. Read coordinator.py first."""
