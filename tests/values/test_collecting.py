"""Python's collector stays away while many objects are made, and comes back."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from lavoro.runtime.collecting import MANY, uncollected


@pytest.fixture(autouse=True)
def enabled() -> Iterator[None]:
    gc.enable()
    yield
    gc.enable()


def test_no_collection_begins_in_the_block() -> None:
    with uncollected(MANY):
        assert not gc.isenabled()
        with uncollected(MANY):
            pass
        assert not gc.isenabled()
    assert gc.isenabled()


def test_it_comes_back_after_an_error() -> None:
    with pytest.raises(LookupError), uncollected(MANY):
        raise LookupError
    assert gc.isenabled()


def test_a_few_objects_are_not_worth_it() -> None:
    with uncollected(MANY - 1):
        assert gc.isenabled()


def test_an_application_that_has_disabled_it_keeps_it_so() -> None:
    gc.disable()
    with uncollected(MANY):
        pass
    assert not gc.isenabled()
