"""Carrying frames between organisations over NVFlare 2.9: the only package that knows it. Read `wire` first."""
