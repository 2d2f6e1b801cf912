"""What a deletion changes elsewhere, of which Django tells nobody."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("django")

import django_site  # noqa: F401 - it configures Django
from django.db import connections, transaction
from django.db.models.signals import post_delete, pre_delete
from django.http import HttpResponse
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import path
from django_books.models import (
    Author,
    Blurb,
    Book,
    Classic,
    Label,
    Novel,
    Review,
    Shelf,
)

from dogpile.cache.integrations.django import cached, cached_view


@pytest.fixture(autouse=True)
def _empty() -> Iterator[None]:
    with override_settings(
        DOGPILE_CACHE_REGIONS={"default": {"backend": "memory", "expiration_time": 60}}
    ):
        yield
    for model in (Blurb, Review, Novel, Book, Author, Shelf, Label):
        model._default_manager.all().delete()


class Rows:
    """Notes of which rows something was made anew."""

    def __init__(self, *rows: Any) -> None:
        self._rows = rows
        self._made: list[Any] = []
        self.function = cached(60, tags=lambda row: [row])(self._made.append)
        self.changed()

    def changed(self) -> list[Any]:
        """Return the rows that are made anew when all of them are asked for."""
        self._made.clear()
        for row in self._rows:
            self.function(row)
        return list(self._made)


@pytest.fixture
def author() -> Author:
    return Author.objects.create(name="Ada")


@pytest.fixture
def book() -> Book:
    return Book.objects.create(title="a")


class TestPointers:
    def test_rows_that_pointed_to_a_deleted_one_have_changed(self, book: Book) -> None:
        one, two = Review.objects.create(book=book), Review.objects.create()
        rows = Rows(one, two)

        book.delete()

        assert rows.changed() == [one]
        assert Review.objects.get(pk=one.pk).book is None

    @pytest.mark.parametrize("name", ["by", "about"])
    def test_whatever_they_are_set_to(self, author: Author, name: str) -> None:
        review = Review.objects.create(**{name: author})
        rows = Rows(review, Review.objects.create())

        author.delete()

        assert rows.changed() == [review]

    def test_what_shows_all_of_them_has_changed(self, book: Book) -> None:
        made: list[int] = []
        count = cached(60, tags=[Review])(lambda: made.append(1))
        count()

        book.delete()
        count()
        untouched = len(made)
        Review.objects.create(book=Book.objects.create(title="b"))
        count()
        Book.objects.all().delete()
        count()

        assert (untouched, len(made)) == (1, 3)

    def test_a_query_set_is_deleted_row_by_row(self) -> None:
        reviews = [
            Review.objects.create(book=Book.objects.create(title=title))
            for title in "abc"
        ]
        rows = Rows(*reviews)

        Book.objects.filter(title__lt="c").delete()

        assert rows.changed() == reviews[:2]

    def test_children_of_what_pointed_there_have_changed(self, book: Book) -> None:
        blurb = Blurb.objects.create(book=book)
        rows = Rows(blurb, blurb.review_ptr)

        book.delete()

        assert rows.changed() == [blurb, blurb.review_ptr]

    def test_a_deleted_child_is_its_parent_too(self) -> None:
        novel = Novel.objects.create(title="n")
        review = Review.objects.create(book=novel)
        rows = Rows(review)

        novel.delete()

        assert rows.changed() == [review]

    def test_a_proxy_is_its_model(self, book: Book) -> None:
        review = Review.objects.create(book=book)
        rows = Rows(review)

        Classic.objects.get().delete()

        assert rows.changed() == [review]

    def test_a_roll_back_changes_nothing(self, book: Book) -> None:
        rows = Rows(Review.objects.create(book=book))

        with transaction.atomic(using="books"):
            book.delete()
            transaction.set_rollback(True, using="books")

        assert rows.changed() == []

    def test_a_page_of_such_a_row_is_made_anew(self, book: Book) -> None:
        @cached_view(60, tags="django_books.Review:{pk}")
        def show(request: Any, pk: int) -> Any:
            return HttpResponse(str(Review.objects.get(pk=pk).book))

        review = Review.objects.create(book=book)
        with override_settings(ROOT_URLCONF=(path("<int:pk>", show),)):
            before = Client().get(f"/{review.pk}").content
            book.delete()
            after = Client().get(f"/{review.pk}").content

        assert (before, after) == (b"a", b"None")


class TestRelations:
    def test_the_other_ends_of_a_deleted_row_have_changed(
        self, author: Author, book: Book
    ) -> None:
        other = Author.objects.create(name="Bob")
        book.authors.add(author)
        rows = Rows(author, other)

        book.delete()

        assert rows.changed() == [author]

    def test_so_they_have_at_the_side_that_names_the_relation(
        self, author: Author, book: Book
    ) -> None:
        book.authors.add(author)
        rows = Rows(book, Book.objects.create(title="b"))

        author.delete()

        assert rows.changed() == [book]

    def test_a_page_of_the_other_end_is_made_anew(
        self, author: Author, book: Book
    ) -> None:
        @cached_view(60, tags="django_books.Author:{pk}")
        def show(request: Any, pk: int) -> Any:
            return HttpResponse(Author.objects.get(pk=pk).book_set.count())

        book.authors.add(author)
        with override_settings(ROOT_URLCONF=(path("<int:pk>", show),)):
            before = Client().get(f"/{author.pk}").content
            book.delete()
            after = Client().get(f"/{author.pk}").content

        assert (before, after) == (b"1", b"0")


class TestCosts:
    def test_a_row_costs_one_query_for_each_relation(self, book: Book) -> None:
        with CaptureQueriesContext(connections["books"]) as asked:
            book.delete()

        looked_up = [
            each["sql"] for each in asked.captured_queries if "SELECT" in each["sql"]
        ]
        # The children, which Django looks up itself; the authors; the reviews.
        assert len(looked_up) == 3

    def test_only_those_are_listened_to_that_have_to_do_with_tags(self) -> None:
        with override_settings(DOGPILE_CACHE_MODEL_TAGS=["django_books.author"]):
            # Of the deletion of a book its authors hear; of that of a review nobody.
            assert pre_delete.has_listeners(Book)
            assert not post_delete.has_listeners(Book)
            assert not pre_delete.has_listeners(Review)
        assert pre_delete.has_listeners(Review)

    def test_another_end_hears_of_a_row_that_has_no_tag(
        self, author: Author, book: Book
    ) -> None:
        book.authors.add(author)
        with override_settings(DOGPILE_CACHE_MODEL_TAGS=["django_books.author"]):
            rows = Rows(author)
            book.delete()
            assert rows.changed() == [author]


class TestOtherColumns:
    """Relations whose foreign keys point to other columns than primary keys."""

    @pytest.fixture
    def shelf(self) -> Shelf:
        # So that no two rows have one key.
        Shelf.objects.create(code="first")
        return Shelf.objects.create(code="herbs")

    @pytest.fixture
    def label(self) -> Label:
        return Label.objects.create(slug="green")

    @pytest.mark.parametrize(
        "change",
        [
            lambda shelf, label: shelf.labels.remove(label),
            lambda shelf, label: label.shelves.remove(shelf),
            lambda shelf, label: shelf.labels.clear(),
            lambda shelf, label: label.shelves.clear(),
        ],
    )
    def test_both_ends_are_found(self, shelf: Shelf, label: Label, change: Any) -> None:
        rows = Rows(shelf, label)
        shelf.labels.add(label)
        added = rows.changed()

        change(shelf, label)

        assert [added, rows.changed()] == [[shelf, label]] * 2

    def test_the_other_end_of_a_deletion_is_found(
        self, shelf: Shelf, label: Label
    ) -> None:
        shelf.labels.add(label)
        labels, shelves = Rows(label), Rows(shelf)

        label.delete()
        of_label = shelves.changed()
        again = Label.objects.create(slug="green")
        shelf.labels.add(again)
        labels = Rows(again)
        shelf.delete()

        assert [of_label, labels.changed()] == [[shelf], [again]]
