"""Adapters that carry frames between coordinator and parties; the in-process one is the reference."""
