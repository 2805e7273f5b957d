"""One scenario of each kind, as text."""

TEXTS = (
    "iid",
    "target",
    "compound",
    "diffused-target:0.1",
    "diffused-compound:1",
    "size-skew:2",
    "scaffold",
    "family",
    "dirichlet:0.5",
    "weak:0.3",
)
