"""Metrics, paired gains with intervals, and the report; never knows torch or RDKit."""
