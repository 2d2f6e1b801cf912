"""The pages of the shop, and what is remembered for them."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib import messages
from django.core.cache import cache
from django.db.models import Count, Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_safe

from dogpile.cache.integrations.django import cached, cached_view
from shop.forms import OrderForm, ProductForm
from shop.models import Category, Order, Product, SoldOut

FRESH = 300
GRACE = 3600


def number_of_page(request: HttpRequest) -> dict[str, str]:
    """Give each page a number, so that it is seen which was made anew."""
    return {"made": uuid.uuid4().hex[:8]}


@cached(FRESH, grace=GRACE, tags=[Order, Product])
def bestsellers(count: int) -> list[dict[str, Any]]:
    """Return what was sold most: on two pages, and counted once for both."""
    found = Product.objects.annotate(sold=Sum("orders__count"))
    return list(found.order_by("-sold", "name").values("name", "slug", "sold")[:count])


@cached(24 * 3600, grace=GRACE)  # that of yesterday is as good
def sold_with(product_id: int) -> list[dict[str, Any]]:
    """Return what the customers of a product have bought, too."""
    customers = Order.objects.filter(product=product_id).values("customer")
    found = Product.objects.filter(orders__customer__in=customers)
    found = found.exclude(pk=product_id).annotate(sold=Sum("orders__count"))
    return list(found.order_by("-sold", "name").values("name", "slug")[:4])


def looks(product_id: int) -> int | None:
    """Count a look at a product: ``None`` while the cache's server is down."""
    key = f"looks:{product_id}"
    cache.add(key, 0, timeout=None)
    try:
        return int(cache.incr(key))
    except ValueError:  # there is nothing to count in
        return None


# Pages that are the same for everybody


@require_safe
@cached_view(FRESH, grace=GRACE, tags=[Category, Order, Product])
def home(request: HttpRequest) -> HttpResponse:
    """Show the shelves, and what is sold most."""
    shelves = Category.objects.annotate(size=Count("products"))
    return render(
        request, "shop/home.html", {"shelves": shelves, "bestsellers": bestsellers(6)}
    )


@require_safe
@cached_view(FRESH, grace=GRACE, tags="shelf:{slug}")
def category(request: HttpRequest, slug: str) -> HttpResponse:
    """Show what is on a shelf."""
    shelf = get_object_or_404(Category.objects.prefetch_related("products"), slug=slug)
    return render(request, "shop/category.html", {"shelf": shelf})


@require_safe
@cached_view(FRESH, grace=GRACE, tags=[Order])
def orders(request: HttpRequest) -> HttpResponse:
    """Show what was sold lately, and how much of each kind."""
    latest = Order.objects.select_related("product")[:12]
    takings = (
        Order.objects.values("product__category__name")
        .annotate(bags=Sum("count"), money=Sum("price"))
        .order_by("-money")
    )
    return render(request, "shop/orders.html", {"orders": latest, "takings": takings})


# Pages with a form: its token is each visitor's own, so that parts are kept


def product(request: HttpRequest, slug: str) -> HttpResponse:
    """Show a product, or sell it."""
    found = get_object_or_404(Product, slug=slug)
    form = OrderForm(request.POST or None, instance=Order(product=found))
    if request.method == "POST" and form.is_valid():
        try:
            form.instance.place()
        except SoldOut as error:
            form.add_error("count", str(error))
        else:
            messages.success(request, f"{form.instance.count} of it are yours.")
            return redirect(found)
    return render(
        request,
        "shop/product.html",
        {
            "product": found,
            # Called within the part that is kept: what was read before may be
            # older than the sale that the part was thrown away for.
            "card": lambda: Product.objects.select_related("category").get(pk=found.pk),
            "form": form,
            "looks": looks(found.pk),
            "sold_with": sold_with(found.pk),
        },
        status=422 if form.errors else 200,
    )


def edit(request: HttpRequest, slug: str) -> HttpResponse:
    """Change what a product costs, and how much there is of it."""
    found = get_object_or_404(Product, slug=slug)
    form = ProductForm(request.POST or None, instance=found)
    if request.method == "POST" and form.is_valid():
        # The signal that this sends is all that the cache needs.
        form.save()
        messages.success(request, "The shelf is up to date.")
        return redirect(found)
    return render(
        request,
        "shop/edit.html",
        {"product": found, "form": form},
        status=422 if form.errors else 200,
    )
