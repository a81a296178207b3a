"""The time zone of the machine, with the daylight saving of each moment."""

from __future__ import annotations

import datetime as dt
import time


class LocalZone(dt.tzinfo):
    """The zone that the operating system names; ``astimezone()`` gives the offset of one moment alone."""

    def __repr__(self) -> str:
        return f"<the machine's time zone, {self.tzname(dt.datetime.now())}>"

    def utcoffset(self, moment: dt.datetime | None) -> dt.timedelta | None:
        """Return the offset at a moment of this zone."""
        return _fixed(moment).utcoffset() if moment is not None else None

    def dst(self, moment: dt.datetime | None) -> dt.timedelta | None:
        """Return how much of the offset is daylight saving."""
        if moment is None:
            return None
        saving = time.localtime(_fixed(moment).timestamp()).tm_isdst > 0
        return dt.timedelta(seconds=(time.timezone - time.altzone) * saving)

    def tzname(self, moment: dt.datetime | None) -> str | None:
        """Return the name of the zone at a moment."""
        return _fixed(moment).tzname() if moment is not None else None

    def fromutc(self, moment: dt.datetime) -> dt.datetime:
        """Return a moment of UTC in this zone."""
        here = moment.replace(tzinfo=dt.timezone.utc).astimezone()
        second = here.replace(tzinfo=None).astimezone().utcoffset() != here.utcoffset()
        return here.replace(tzinfo=self, fold=int(second))


def _fixed(moment: dt.datetime) -> dt.datetime:
    return moment.replace(tzinfo=None).astimezone()
