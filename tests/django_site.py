"""A Django site for tests: its settings are configured once in a process.

Whoever tests in Django imports this module first, and takes ``override_settings``
for what a test needs otherwise. Its databases have their tables as soon as the module
is imported: one in memory, and two in files for the books of ``django_books``. Where
``DJANGO_SITE_POSTGRESQL`` is a port in the environment, a PostgreSQL there has the
latter two.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from typing import Any

import django
from django.conf import settings
from django.core.management import call_command

SECRET_KEY = "a secret of the tests' site, long enough"

_folder = tempfile.mkdtemp(prefix="django_site")
atexit.register(shutil.rmtree, _folder, ignore_errors=True)


def _home(name: str) -> dict[str, Any]:
    """Return the settings of a database in which threads read while others write."""
    port = os.environ.get("DJANGO_SITE_POSTGRESQL")
    if port:
        import django_postgresql

        return django_postgresql.settings_of(int(port), name)
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{_folder}/{name}.db"}


if not settings.configured:
    settings.configure(
        SECRET_KEY=SECRET_KEY,
        ALLOWED_HOSTS=["testserver", "example.com", "localhost", "127.0.0.1"],
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                # One that all threads share, unlike ":memory:" alone.
                "NAME": "file:django_site?mode=memory&cache=shared",
                "OPTIONS": {"uri": True},
            },
            "books": _home("books"),
            "archive": _home("archive"),
        },
        DATABASE_ROUTERS=["django_books.models.Library"],
        INSTALLED_APPS=[
            "django.contrib.contenttypes",
            "django.contrib.auth",
            "django.contrib.sessions",
            "dogpile.cache.integrations.django",
            "django_books",
        ],
        CACHES={
            "default": {
                "BACKEND": "dogpile.cache.integrations.django.DogpileCache",
                "LOCATION": "dogpile.cache.memory",
            }
        },
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
            }
        ],
        ROOT_URLCONF="django_site",
        USE_TZ=True,
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    )
    django.setup()
    for alias in settings.DATABASES:
        call_command("migrate", verbosity=0, database=alias, run_syncdb=True)

#: A test that needs views gives its own by ``override_settings(ROOT_URLCONF=…)``.
urlpatterns: list[Any] = []


def read_session(get_response: Any) -> Any:
    """Be a middleware that looks at the session."""

    def middleware(request: Any) -> Any:
        request.session.get("anything")
        return get_response(request)

    return middleware


def user_by_header(get_response: Any) -> Any:
    """Be a middleware that knows users by a header."""

    def middleware(request: Any) -> Any:
        request.user = request.headers.get("X-User")
        return get_response(request)

    return middleware
