"""What can be changed."""

from __future__ import annotations

from django import forms

from shop.models import Order, Product


class OrderForm(forms.ModelForm):
    """Buy something."""

    class Meta:
        model = Order
        fields = ("count", "customer")


class ProductForm(forms.ModelForm):
    """Say what a bag costs, and how many are on the shelf."""

    class Meta:
        model = Product
        fields = ("price", "stock", "text")
