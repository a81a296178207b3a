"""The scheduler of the library, which nothing reminds of on holidays."""

from lavoro.beat import PersistentScheduler, ScheduleEntry


class Entry(ScheduleEntry):
    """Is not due on holidays."""

    holidays: tuple[str, ...] = ()

    def is_due(self):
        """Ask again in an hour on a holiday."""
        return (False, 3600.0) if str(self.default_now().date()) in self.holidays else super().is_due()


class Scheduler(PersistentScheduler):
    """Has such entries, and one more."""

    Entry = Entry
    max_interval = 5

    def setup_schedule(self):
        """Add an entry that no setting has."""
        super().setup_schedule()
        self.add(name="audit", task="library.loans.tasks.drop", schedule=86400)
        self.logger.warning("the library has %s", ", ".join(sorted(self.schedule)))
