"""A shop of seeds: Django, a database of sqlite, and the cache.

    python examples/django_shop/manage.py open_shop

makes the database and fills it where there is none, and serves
http://127.0.0.1:8001/. What is cached lies in a file beside the database;
``DOGPILE_CACHE_URL=redis://localhost`` (or ``memcached://localhost``) in the
environment is all that changes that. ``SHOP_FOLDER`` says where the files are.
"""

from __future__ import annotations

import os
import sys

from django.core.management import execute_from_command_line


def main() -> None:
    """Run a command of Django, or of this shop."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
