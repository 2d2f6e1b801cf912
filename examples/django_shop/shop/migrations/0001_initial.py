"""The tables of the shop."""

from decimal import Decimal

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import migrations, models
from django.utils import timezone


def _key() -> models.BigAutoField:
    return models.BigAutoField(
        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
    )


class Migration(migrations.Migration):
    """Make them."""

    initial = True

    operations = (
        migrations.CreateModel(
            name="Category",
            fields=[
                ("id", _key()),
                ("name", models.CharField(max_length=40)),
                ("slug", models.SlugField(unique=True)),
            ],
            options={"ordering": ("name",)},
        ),
        migrations.CreateModel(
            name="Product",
            fields=[
                ("id", _key()),
                ("name", models.CharField(max_length=60)),
                ("slug", models.SlugField(unique=True)),
                ("text", models.TextField()),
                (
                    "price",
                    models.DecimalField(
                        decimal_places=2,
                        max_digits=6,
                        validators=[MinValueValidator(Decimal("0.05"))],
                    ),
                ),
                (
                    "stock",
                    models.PositiveIntegerField(validators=[MaxValueValidator(9999)]),
                ),
                (
                    "category",
                    models.ForeignKey(
                        on_delete=models.PROTECT,
                        related_name="products",
                        to="shop.category",
                    ),
                ),
            ],
            options={"ordering": ("name",)},
        ),
        migrations.CreateModel(
            name="Order",
            fields=[
                ("id", _key()),
                (
                    "count",
                    models.PositiveIntegerField(
                        validators=[MinValueValidator(1), MaxValueValidator(20)],
                        verbose_name="How many",
                    ),
                ),
                ("customer", models.CharField(max_length=40, verbose_name="Your name")),
                ("price", models.DecimalField(decimal_places=2, max_digits=8)),
                ("placed", models.DateTimeField(db_index=True, default=timezone.now)),
                (
                    "product",
                    models.ForeignKey(
                        on_delete=models.PROTECT,
                        related_name="orders",
                        to="shop.product",
                    ),
                ),
            ],
            options={"ordering": ("-placed", "-pk")},
        ),
    )
