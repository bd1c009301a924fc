"""Short histories at random on the books of the embedded catalog; on others in `test_other_catalogs.py`."""

from __future__ import annotations

import pytest
from tests.conftest import make_project
from tests.empty_lake import empty_lake
from tests.torture.short_histories import Books


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Books:
    """An empty lake."""
    project = make_project(tmp_path_factory.mktemp("books"))
    empty_lake(project)
    books = Books(project)
    books.forget()
    return books


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Delete operation did not match")
@pytest.mark.parametrize("seed", range(20))
def test_after_each_step_the_books_are_those_of_the_model(books: Books, seed: int) -> None:
    assert books.history(seed, 2) == ""


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.filterwarnings("ignore:Delete operation did not match")
def test_after_each_step_of_two_hundred_more_histories_the_books_are_those_of_the_model(books: Books) -> None:
    assert books.histories(range(100, 300), 2) == []
