"""Turns arguments, results and exceptions into text that PostgreSQL can store, as Celery's messages have it.

Nothing named in data is ever imported or evaluated; pickle is decoded only where ``accept_content`` allows it.
"""

from lavoro.serialization.errors import UnpickleableExceptionWrapper, dumps_exception, loads_exception
from lavoro.serialization.json import dumps, loads, register_type
from lavoro.serialization.serializers import Encoded, decode, encode, register, serializer_of, unregister

__all__ = [
    "Encoded",
    "UnpickleableExceptionWrapper",
    "decode",
    "dumps",
    "dumps_exception",
    "encode",
    "loads",
    "loads_exception",
    "register",
    "register_type",
    "serializer_of",
    "unregister",
]
