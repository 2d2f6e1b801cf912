"""The application, and what it listens to."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_delete, post_save


class ShopConfig(AppConfig):
    """The shop, as Django knows it."""

    name = "shop"
    verbose_name = "Shop of seeds"

    def ready(self) -> None:
        """Listen to what is done to products."""
        post_save.connect(_tell, sender="shop.Product", dispatch_uid="shelves")
        post_delete.connect(_tell, sender="shop.Product", dispatch_uid="shelves")


def _tell(instance: Any, **_: Any) -> None:
    instance.tell_its_shelf()
