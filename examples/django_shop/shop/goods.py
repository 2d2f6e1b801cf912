"""What the shop begins with: seeds of four kinds, and who has bought them."""

from __future__ import annotations

import random
from datetime import timedelta
from decimal import Decimal

from django.db import transaction
from django.utils import timezone

from shop.models import Category, Order, Product

#: By category: name, price in cents, stock, and what the bag says.
GOODS = {
    "Flowers": (
        ("Cornflower", 240, 38, "Blue as the ink of a letter. Bees find it first."),
        ("Hollyhock", 310, 12, "Two metres tall in its second summer."),
        ("Love-in-a-mist", 220, 41, "Sow it once, and it stays for years."),
        ("Marigold", 190, 55, "Orange from June to the first frost."),
        ("Night-scented stock", 260, 9, "Plain by day. Leave a window open at dusk."),
        ("Sunflower", 280, 30, "Three metres by August, if the slugs agree."),
        ("Sweet pea", 320, 17, "The more you cut, the more there are."),
    ),
    "Herbs": (
        ("Basil", 230, 44, "Likes what tomatoes like: warmth, and no wind."),
        ("Borage", 210, 26, "Tastes of cucumber, and its flowers float in a glass."),
        ("Chervil", 220, 19, "Anise, but quietly. Sow a little every month."),
        ("Coriander", 200, 33, "Leaf first, seed later, both from one bag."),
        ("Dill", 190, 47, "Sow it where it is to stand: it does not move house."),
        ("Lovage", 250, 8, "One plant is enough for a street of soups."),
        ("Thyme", 270, 22, "For the dry edge where nothing else will grow."),
    ),
    "Roots": (
        ("Beetroot", 210, 36, "Dark, round, and good from July to the snow."),
        ("Black salsify", 290, 7, "Ugly, hardy, and the best of the winter."),
        ("Carrot", 190, 61, "Short and blunt, for heavy ground."),
        ("Parsnip", 230, 24, "Slow to come up, and sweeter after a frost."),
        ("Radish", 160, 70, "From the bag to the bread in twenty-five days."),
        ("Turnip", 180, 31, "White with a purple collar; pick it small."),
    ),
    "Vegetables": (
        ("Broad bean", 340, 28, "Sow it in November, if you dare."),
        ("Chard", 220, 35, "Red, yellow and pink stalks from one bag."),
        ("Courgette", 300, 16, "Two plants. Three is a mistake."),
        ("Kale", 240, 42, "Stands in the snow and does not mind."),
        ("Leek", 230, 20, "Patience, earthed up."),
        ("Tomato", 320, 25, "An old red one that splits and tastes of summer."),
    ),
}
CUSTOMERS = ("Ada", "Bela", "Carl", "Dora", "Emil", "Fritzi", "Gus", "Hedy", "Ivo")
ORDERS = 600


def fill() -> None:
    """Fill the database, unless something is in it."""
    with transaction.atomic():
        if Category.objects.exists():
            return
        for name, goods in GOODS.items():
            category = Category.objects.create(name=name, slug=name.lower())
            Product.objects.bulk_create(
                Product(
                    category=category,
                    name=product,
                    slug=product.lower().replace(" ", "-"),
                    price=Decimal(cents) / 100,
                    stock=stock,
                    text=text,
                )
                for product, cents, stock, text in goods
            )
        _sell(list(Product.objects.order_by("pk")))


def _sell(products: list[Product]) -> None:
    """Make up the orders of the last sixty days, the same each time."""
    chance = random.Random(7)
    shares = [chance.randint(1, 9) for _ in products]
    now = timezone.now()
    orders = []
    for product in chance.choices(products, shares, k=ORDERS):
        count = 1 + min(int(chance.expovariate(1)), 5)
        orders.append(
            Order(
                product=product,
                count=count,
                customer=chance.choice(CUSTOMERS),
                price=count * product.price,
                placed=now - timedelta(minutes=chance.randint(90, 60 * 24 * 60)),
            )
        )
    Order.objects.bulk_create(orders)
