"""The limits of an application's keys, as ``app.limits``."""

from lavoro.limits.api import Limits
from lavoro.store.limits import Holder, LimitInfo

__all__ = ["Holder", "LimitInfo", "Limits"]
