"""A module of tasks that fails."""

import no_such_module  # noqa: F401
