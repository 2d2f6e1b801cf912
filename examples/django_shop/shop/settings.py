"""Django's settings: what is said of the cache stands at the top."""

from __future__ import annotations

import getpass
import os
import re
import secrets
import tempfile
from pathlib import Path
from typing import Any


def _folder() -> Path:
    """Return where the database, the cache and the secret lie."""
    user = re.sub(r"\W", "_", getpass.getuser())
    beside = Path(tempfile.gettempdir(), f"dogpile-shop-{user}")
    folder = Path(os.environ.get("SHOP_FOLDER", beside)).resolve()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _secret(path: Path) -> str:
    """Return the secret that signs forms and what is cached; made once."""
    if not path.exists():
        made = path.with_name(f"secret.{os.getpid()}")
        made.touch(mode=0o600)
        made.write_text(secrets.token_hex(32), encoding="ascii")
        made.replace(path)
    return path.read_text(encoding="ascii")


FOLDER = _folder()

# The cache

CACHES = {
    "default": {
        "BACKEND": "dogpile.cache.integrations.django.DogpileCache",
        "LOCATION": "default",
    }
}
#: Sets the keys apart from those of other projects on the same server.
DOGPILE_CACHE_KEY_PREFIX = "shop"
#: The region ``default`` in one line, where the environment has one.
DOGPILE_CACHE_URL = os.environ.get("DOGPILE_CACHE_URL", "")
#: And a file that all processes of this machine share, where it has not.
DOGPILE_CACHE_REGIONS: dict[str, Any] = (
    {}
    if DOGPILE_CACHE_URL
    else {
        "default": {
            "backend": "sqlite",
            "arguments": {"filename": str(FOLDER / "cache.sqlite")},
            "expiration_time": 300,
            "generation_ttl": 0,  # what one process changes, all see at once
        }
    }
)

# The rest is what any small site has

SECRET_KEY = _secret(FOLDER / "secret")
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
ROOT_URLCONF = "shop.urls"
INSTALLED_APPS = [
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "dogpile.cache.integrations.django",
    "shop.apps.ShopConfig",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
# In a cookie: nobody logs in here, so that there are no sessions.
MESSAGE_STORAGE = "django.contrib.messages.storage.cookie.CookieStorage"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.messages.context_processors.messages",
                "shop.views.number_of_page",
            ]
        },
    }
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": FOLDER / "shop.sqlite",
        # Who is going to write waits for whoever does.
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STATIC_URL = "static/"
# Errors are for the terminal, as nobody reads mails of this shop.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"terminal": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["terminal"], "level": "WARNING"},
}
USE_TZ = True
TIME_ZONE = "UTC"
