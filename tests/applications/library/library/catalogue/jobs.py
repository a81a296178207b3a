"""Jobs of the catalogue, which are found under another module name."""

from lavoro import shared_task


@shared_task(bind=True, name="library.catalogue.jobs.rebuild", typing=False)
def rebuild(self, *parts, **options):
    """Return the way that it came, and the signature of its call."""
    return [self.request.delivery_info["routing_key"], list(parts), options, self.request.parent_id is not None]


@shared_task(name="library.catalogue.jobs.start", trail=True)
def start(parts):
    """Start another job, and do not wait for it."""
    return [rebuild.delay(part).id for part in range(parts)]
