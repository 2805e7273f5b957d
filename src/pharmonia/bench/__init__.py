"""Comparisons and benchmark batteries, composed of runs and evaluations."""
