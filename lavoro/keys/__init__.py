"""Keys: names that tasks share, made of their arguments, with the limits and the uniqueness that hang on them."""

from lavoro.keys.limit import Limit, Rate, read_limits
from lavoro.keys.maker import KeyMaker, key_maker
from lavoro.keys.unique import Unique, read_unique

__all__ = ["KeyMaker", "Limit", "Rate", "Unique", "key_maker", "read_limits", "read_unique"]
