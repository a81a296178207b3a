"""The catalogue."""

from lavoro.serialization import register


def encode(value):
    """Write a value as lines."""
    import json

    return "shelf:" + json.dumps(value)


def decode(text):
    """Read it again."""
    import json

    return json.loads((text.decode() if isinstance(text, bytes) else text).removeprefix("shelf:"))


register("shelf", encode, decode, content_type="application/x-shelf", content_encoding="utf-8")
