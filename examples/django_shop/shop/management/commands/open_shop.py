"""Open the shop: make its database, fill it, and serve its pages."""

from __future__ import annotations

from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser

from shop import goods


class Command(BaseCommand):
    """``manage.py open_shop``."""

    help = "Make and fill the database where there is none, and serve the shop."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the port."""
        parser.add_argument("--port", type=int, default=8001, help="0: any free one")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it."""
        call_command("migrate", verbosity=0)
        goods.fill()
        call_command(
            "runserver",
            f"127.0.0.1:{options['port']}",
            use_reloader=False,
            insecure_serving=True,  # the style sheet, where DEBUG is off
        )
