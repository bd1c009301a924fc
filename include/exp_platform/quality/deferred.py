"""Import a large package with less work: without modules that few of its functions need, without search for garbage."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any


class _Deferred(ModuleType):
    """Stands for a module until an attribute of it is asked for, then imports it and passes on what that has."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__path__":  # the import system asks these of every module
            raise AttributeError(name)
        _forget(self)
        return getattr(import_module(self.__name__), name)


@contextmanager
def deferred(*names: str) -> Iterator[None]:
    """Let what is imported meanwhile get a stand-in for each of these modules that is not imported yet.

    Afterwards whoever imports such a module gets the module itself.
    """
    stand_ins = [_Deferred(name) for name in names if name not in sys.modules]
    sys.modules.update({each.__name__: each for each in stand_ins})
    try:
        yield
    finally:
        for each in stand_ins:
            _forget(each)


@contextmanager
def no_search_for_garbage() -> Iterator[None]:
    """Look for no garbage while modules are imported, which become none; to look was a seventh of a large import."""
    searching = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if searching:
            gc.enable()


def _forget(stand_in: ModuleType) -> None:
    if sys.modules.get(stand_in.__name__) is stand_in:
        del sys.modules[stand_in.__name__]
