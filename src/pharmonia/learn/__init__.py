"""Federated algorithms and the messages they exchange; never knows who is allowed."""
