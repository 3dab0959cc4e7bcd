"""The machine-learning models of JustLens and nothing else.

Each kind of model is one small interface with one class per backend; `create` makes one by its
name. Importing this package or any module in it loads no weights and imports no deep-learning
framework: a model loads itself on its first call, or when `load()` is called.
"""

from models.registry import BACKENDS, create

__all__ = ["BACKENDS", "create"]
