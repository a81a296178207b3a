"""Schedules by the sun: dawn, sunrise, noon, sunset and dusk at a place."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

from lavoro.exceptions import ImproperlyConfigured
from lavoro.schedules.base import BaseSchedule

_HORIZONS = {"astronomical": "-18", "nautical": "-12", "civil": "-6"}
EVENTS = {
    **{f"dawn_{kind}": ("next_rising", horizon) for kind, horizon in _HORIZONS.items()},
    "sunrise": ("next_rising", "-0:34"),
    "solar_noon": ("next_transit", "0"),
    "sunset": ("next_setting", "-0:34"),
    **{f"dusk_{kind}": ("next_setting", horizon) for kind, horizon in _HORIZONS.items()},
}
"""The method of ephem's observer, and the height of the sun in degrees; -0:34 is the refraction at the horizon."""


class solar(BaseSchedule):
    """Runs at an event of the sun, at a latitude and longitude in degrees::

        solar("sunset", 45.46, 9.19)

    Events: dawn_astronomical, dawn_nautical, dawn_civil, sunrise, solar_noon, sunset, dusk_civil, dusk_nautical,
    dusk_astronomical. A day without the event is passed over. Needs the package ``ephem``: install ``lavoro[solar]``.
    """

    max_search_days = 366
    """Days for which an event is looked for: in summer the sun of the far north does not set for months."""

    def __init__(
        self,
        event: str,
        lat: float,
        lon: float,
        nowfun: Callable[[], datetime] | None = None,
        app: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(nowfun, app, **options)
        if event not in EVENTS:
            raise ValueError(f"Argument event {event!r} is invalid, must be one of {sorted(EVENTS)}.")
        if not -90 <= lat <= 90:
            raise ValueError("Argument lat must be within a range of -90 and 90.")
        if not -180 <= lon <= 180:
            raise ValueError("Argument lon must be within a range of -180 and 180.")
        self.event, self.lat, self.lon = event, lat, lon
        self._ephem = _imported()

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the next event after this time, in UTC; None if none comes within ``max_search_days``."""
        ephem, (method, horizon) = self._ephem, EVENTS[self.event]
        place = ephem.Observer()
        place.lat, place.lon, place.horizon, place.pressure, place.elev = str(self.lat), str(self.lon), horizon, 0, 0
        start = self.maybe_make_aware(moment).astimezone(timezone.utc).replace(tzinfo=None)
        day = ephem.Date(start)
        options = {"use_center": True} if self.event.startswith(("dawn", "dusk")) else {}
        for _ in range(self.max_search_days):
            try:
                found = getattr(place, method)(ephem.Sun(), start=day, **options).datetime()
            except ephem.CircumpolarError:  # the sun is up or down all day
                day = ephem.Date(day + 1)
                continue
            if found > start:
                return found.replace(tzinfo=timezone.utc)  # type: ignore[no-any-return]
            day = ephem.Date(day + ephem.minute)
        return None

    def __repr__(self) -> str:
        return f"<solar: {self.event} at latitude {self.lat}, longitude: {self.lon}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, solar):
            return NotImplemented
        return (self.event, self.lat, self.lon) == (other.event, other.lat, other.lon)

    __hash__ = None

    def __reduce__(self) -> Any:
        return type(self), (self.event, self.lat, self.lon)


def _imported() -> Any:
    try:
        import ephem  # type: ignore[import-untyped]  # noqa: PLC0415
    except ImportError:
        raise ImproperlyConfigured("schedules of the sun need the package ephem: pip install 'lavoro[solar]'") from None
    return ephem
