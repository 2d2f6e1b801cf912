"""Books, and who has written them."""

from __future__ import annotations

from django.db import models


class Author(models.Model):
    name = models.CharField(max_length=50)

    def __str__(self) -> str:
        return self.name


class Book(models.Model):
    title = models.CharField(max_length=50)
    authors: models.ManyToManyField[Author, Author] = models.ManyToManyField(Author)

    def __str__(self) -> str:
        return self.title


class Novel(Book):
    """One with a table of its own beside that of books."""

    length = models.IntegerField(default=0)


class Classic(Book):
    """A book by another name."""

    class Meta:
        proxy = True


def nobody() -> None:
    """Return what stands in a review instead of an author who is gone."""


class Review(models.Model):
    """What outlives the book that it is about, and those who have to do with it."""

    book: models.ForeignKey[Book | None] = models.ForeignKey(
        Book, models.SET_NULL, null=True
    )
    by: models.ForeignKey[Author | None] = models.ForeignKey(
        Author, models.SET(nobody), null=True, related_name="+"
    )
    about: models.ForeignKey[Author | None] = models.ForeignKey(
        Author, models.SET_DEFAULT, null=True, default=None, related_name="reviews"
    )


class Blurb(Review):
    """A review with a table of its own beside that of reviews."""


class Label(models.Model):
    slug = models.CharField(max_length=50, unique=True)


class Shelf(models.Model):
    """What is related by other columns than primary keys."""

    code = models.CharField(max_length=50, unique=True)
    labels: models.ManyToManyField[Label, Sticker] = models.ManyToManyField(
        Label, through="Sticker", related_name="shelves"
    )


class Sticker(models.Model):
    label = models.ForeignKey(Label, models.CASCADE, to_field="slug")
    shelf = models.ForeignKey(Shelf, models.CASCADE, to_field="code")


class Timed(models.Model):
    """What is saved here is a row of the models that inherit from it."""

    made = models.DateTimeField(auto_now_add=True)

    class Meta:
        abstract = True


class Library:
    """Keeps the books of the tests in databases of their own."""

    def db_for_read(self, model: type[models.Model], **hints: object) -> str | None:
        return "books" if _is_ours(model._meta.app_label) else None

    db_for_write = db_for_read

    def allow_migrate(self, db: str, app_label: str, **hints: object) -> bool:
        return _is_ours(app_label) == (db != "default")


def _is_ours(app_label: str) -> bool:
    return app_label == "django_books"
