"""Errors, canonical bytes and array guards that every layer stands on; imports nothing of ours."""
