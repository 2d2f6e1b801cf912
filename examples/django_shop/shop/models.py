"""What the shop sells, and to whom."""

from __future__ import annotations

from decimal import Decimal
from functools import partial

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models, transaction
from django.urls import reverse
from django.utils import timezone

from dogpile.cache.integrations.django import invalidate_model, regions

MOST = 20


class SoldOut(Exception):
    """There is less of it than somebody wants."""


class Category(models.Model):
    """A shelf of the shop."""

    name = models.CharField(max_length=40)
    slug = models.SlugField(unique=True)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return str(self.name)

    def get_absolute_url(self) -> str:
        """Return the path of its page."""
        return reverse("category", args=[self.slug])


class Product(models.Model):
    """A bag of seeds."""

    category = models.ForeignKey(Category, models.PROTECT, related_name="products")
    name = models.CharField(max_length=60)
    slug = models.SlugField(unique=True)
    text = models.TextField()
    price = models.DecimalField(
        max_digits=6, decimal_places=2, validators=[MinValueValidator(Decimal("0.05"))]
    )
    stock = models.PositiveIntegerField(validators=[MaxValueValidator(9999)])

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return str(self.name)

    def get_absolute_url(self) -> str:
        """Return the path of its page."""
        return reverse("product", args=[self.slug])

    def tell_its_shelf(self) -> None:
        """Have the page of its shelf made anew, and those of the others stay."""
        tag = f"shelf:{self.category.slug}"
        # Not before, as whoever asks until then sees what was there before.
        transaction.on_commit(partial(regions["default"].invalidate_tags, tag))


class Order(models.Model):
    """What somebody has bought."""

    product = models.ForeignKey(Product, models.PROTECT, related_name="orders")
    count = models.PositiveIntegerField(
        "How many", validators=[MinValueValidator(1), MaxValueValidator(MOST)]
    )
    customer = models.CharField("Your name", max_length=40)
    price = models.DecimalField(max_digits=8, decimal_places=2)
    placed = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        ordering = ("-placed", "-pk")

    def __str__(self) -> str:
        return f"{self.count} x {self.product}"

    def place(self) -> None:
        """Take the goods from the shelf, and keep the order.

        :raises SoldOut: there are too few of them.
        """
        shelf = Product.objects.filter(pk=self.product.pk, stock__gte=self.count)
        with transaction.atomic():
            # In the database, so that two customers cannot get the last bag. No
            # signal tells of an update(), so the cache is told here.
            if not shelf.update(stock=models.F("stock") - self.count):
                raise SoldOut(f"There are too few of {self.product} left.")
            self.price = self.count * self.product.price
            self.save()
            invalidate_model(self.product)
            self.product.tell_its_shelf()
