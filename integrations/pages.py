"""What the cached views of Flask and Django share: options, shelves, kept pages."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Mapping
from difflib import get_close_matches
from typing import Any, NamedTuple
from urllib.parse import urlencode

from dogpile.cache import (
    BACKENDS,
    NO_VALUE,
    CacheRegion,
    Clock,
    Creation,
    Policy,
    UncacheableArgument,
    ValidationError,
    canonical_text,
)
from dogpile.cache.integrations import http
from dogpile.cache.integrations.options import (
    OF_VIEWS,
    read_function,
    read_tags,
    read_text,
    refuse_negative,
    refuse_unknown,
)

#: Why a response is for one client alone; no cache on the way may keep it then.
SEPARATED = frozenset(
    {
        *("session", "set-cookie", "authorization", "unkeyed-cookie"),
        *("csrf", "messages", "user"),
    }
)
#: From here on a status tells of the server's failure.
SERVER_ERROR = 500

# Seconds, and pages, for which it is remembered that they are not kept.
_PASSING = 10.0
_MOST_PASSING = 1000


class ViewOptions(NamedTuple):
    """How a view is kept.

    :param region: its name; ``None`` for the default one.
    :param expiration_time: seconds; ``None`` for the region's.
    :param lifetime: the same in seconds, whatever it was given as.
    :param tags: names, format strings over the view's arguments, functions.
    :param varied: headers by their CGI names.
    :param select: makes the canonical query.
    :param unless: says that a request is not to be cached.
    :param response_filter: says of a response whether it may be kept.
    :param key: what stands in the key instead of path and query.
    :param policy: other fields of ``Policy``.
    """

    region: str | None
    expiration_time: Any
    lifetime: float | None
    tags: tuple[Any, ...]
    varied: Mapping[str, str]
    select: http.Select
    unless: Callable[..., Any] | None
    response_filter: Callable[[Any], Any] | None
    key: Any
    policy: Mapping[str, Any]


def read_options(
    expiration_time: Any,
    region: str | None,
    tags: Iterable[Any],
    vary: Iterable[str],
    query: Any,
    unless: Callable[..., Any] | None,
    response_filter: Callable[[Any], Any] | None,
    key: Any,
    policy: Mapping[str, Any],
) -> ViewOptions:
    """Check what a view is decorated with.

    :raises ValidationError: something of it is no use.
    """
    refuse_unknown("a cached view", policy, OF_VIEWS)
    refuse_negative(policy)
    checked = Policy().merged({**policy, "expiration_time": expiration_time})
    return ViewOptions(
        read_text("region", region, "the name of a region"),
        expiration_time,
        checked.expiration_time,
        read_tags(tags),
        http.vary_names(vary),
        http.select_query(query),
        read_function("unless", unless, "a function"),
        read_function("response_filter", response_filter, "a function"),
        _read_key(key),
        dict(policy),
    )


def _read_key(key: Any) -> Any:
    """Return a key, or a function that returns nothing but keys."""
    if isinstance(key, str):
        return key
    what = "a text, or a function that returns one"
    if read_function("key", key, what) is None:
        return None

    @functools.wraps(key)
    def checked(*given: Any) -> str:
        found = key(*given)
        text = _text_of(found)
        if text:
            return text
        # All pages would be one, or each rendering another one.
        raise ValidationError(f"key takes {what}: {key!r} returned {found!r}")

    return checked


def _text_of(found: Any) -> str:
    """Return a text that stands for a value in every process; ``""`` for none."""
    if found is None:
        return ""
    kind: Any = type(found)
    if isinstance(found, (str, int)) or kind.__str__ is not object.__str__:
        return str(found)
    try:
        return canonical_text(found)
    except UncacheableArgument:
        return ""


def view_tags(name: str, view_args: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the tags that each page of a view has.

    :param name: the view's, as its framework knows it.
    """
    tag = f"view:{name}"
    if not view_args:
        return (tag,)
    return tag, f"{tag}?{urlencode(sorted(view_args.items()))}"


def page_tags(
    name: str, tags: Iterable[Any], view_args: Mapping[str, Any]
) -> list[Any]:
    """Return the tags of a page: those of its view, and those of its options.

    :param name: the view's.
    :param tags: as of :class:`ViewOptions`.
    :raises ValidationError: one names an argument that the view does not have.
    """
    found: list[Any] = list(view_tags(name, view_args))
    for tag in tags:
        if isinstance(tag, str):
            found.append(_filled(name, tag, view_args) if "{" in tag else tag)
            continue
        made = tag(**view_args)
        is_one = isinstance(made, str) or not isinstance(made, Iterable)
        found.extend([made] if is_one else made)
    return found


def _filled(name: str, tag: str, view_args: Mapping[str, Any]) -> str:
    try:
        return tag.format(**view_args)
    except IndexError as error:
        raise ValidationError(
            f"the view {name!r}: the tag {tag!r} counts its arguments: name them"
        ) from error
    except (AttributeError, TypeError, ValueError) as error:
        raise ValidationError(
            f"the view {name!r}: the tag {tag!r} cannot be filled: {error}"
        ) from error
    except KeyError as error:
        wrong = str(error.args[0])
        near = get_close_matches(wrong, view_args, n=1)
        if near:
            hint = f"did you mean {near[0]!r}?"
        else:
            hint = (
                f"there are {', '.join(view_args)}" if view_args else "there are none"
            )
        raise ValidationError(
            f"the view {name!r}: the tag {tag!r} names no argument {wrong!r} of it; "
            f"{hint}"
        ) from error


class Shelf:
    """A region, and what is known of the pages that are not kept in it."""

    def __init__(self, region: CacheRegion) -> None:
        self.region = region
        self.clock: Clock = region.clock
        policy = region.policy
        #: Its entries are in this process, where reading one twice costs nothing.
        self.is_short: bool = (
            region.actual_backend.capabilities.inline
            and not policy.early
            and not policy.jitter
        )
        #: Its entries are anywhere at all.
        self.is_storing: bool = not isinstance(
            region.actual_backend, BACKENDS.load("dogpile.cache.null")
        )
        self._passing: dict[str, float] = {}
        self._learned: dict[str, tuple[str, ...]] = {}

    def made(
        self,
        fwd: str,
        page: http.Page,
        creation: Creation | None,
        key: str,
        policy: Mapping[str, Any],
    ) -> http.Outcome:
        """Return how a request was answered whose page was made, and may be kept.

        :param fwd: as of :class:`~dogpile.cache.integrations.http.Outcome`.
        :param creation: of the page; it has ended.
        :param key: of the page.
        :param policy: of its view.
        """
        if not self.is_storing:
            return http.Outcome(fwd)
        wished = self.region.policy.merged(policy)
        if creation is None or not creation.is_stored:
            is_wanted = wished.should_cache_fn is None or wished.should_cache_fn(page)
            # Else the server is down, or what it was made from is invalid already.
            return http.Outcome(fwd, detail="refused" if is_wanted else "filter")
        if page.until <= page.created and not (page.may_be_stale and wished.grace):
            return http.Outcome(fwd, detail="max-age")
        if not self._has(key):
            return http.Outcome(fwd, detail="refused")
        return http.Outcome(fwd, page.until - page.created, is_stored=True)

    def _has(self, key: str) -> bool:
        """Return whether a page that was stored is not gone already.

        In this process what is too large for all the room is put out at once.
        """
        backend: Any = self.region.actual_backend
        if not getattr(backend, "is_bounded", False):
            return True
        storage = self.region.storage
        stored = storage.coding.key(key)
        if storage.entries is not None:
            return stored in storage.entries
        return backend.get(stored) is not NO_VALUE

    def learned(self, key: str) -> tuple[str, ...]:
        """Return the headers that a page has said it varies by."""
        return self._learned.get(key, ())

    def learn(self, key: str, headers: tuple[str, ...]) -> None:
        """Note the headers that a page varies by, beside those in its key."""
        if len(self._learned) >= _MOST_PASSING:
            self._learned.clear()
        self._learned[key] = headers

    def is_passing(self, key: str, now: float) -> bool:
        """Return whether a page was not kept a moment ago.

        Nobody waits for the making of such a page: it is of no use to others.
        """
        passing = self._passing
        return bool(passing) and now < passing.get(key, 0.0)

    def note_passing(self, key: str) -> None:
        """Note that a page is not kept."""
        passing = self._passing
        if len(passing) >= _MOST_PASSING:
            passing.clear()
        passing[key] = self.clock.time() + _PASSING

    def end_passing(self, key: str) -> None:
        """Note that a page is kept, or would have been."""
        if self._passing:
            self._passing.pop(key, None)


def kept_page(
    shelf: Shelf,
    options: ViewOptions,
    status: int,
    headers: Collection[tuple[str, str]],
    body: bytes,
    vary: Collection[str],
    started: float,
    creation: Creation,
    *,
    http_headers: bool,
    extras: Iterable[tuple[str, Any]] = (),
) -> http.Page:
    """Return a response as it is kept, and say for how long it is fresh.

    :param headers: of the response.
    :param vary: the names of the headers that belong to the key.
    :param started: when its rendering began, in seconds since the epoch.
    :param http_headers: whether caches and clients are told about it.
    :param extras: attributes of the response that its framework reads.
    """
    policy = shelf.region.policy.merged(options.policy)
    wished = options.lifetime
    if wished is None:
        wished = policy.expiration_time
    lifetime, may_be_stale = http.lifetime_of(headers, wished)
    creation.expires(lifetime)
    told: Iterable[tuple[str, str]]
    if http_headers:
        told = http.told_headers(
            headers,
            body,
            vary,
            lifetime,
            policy.grace if may_be_stale else None,
            is_invalidated=bool(options.tags),
        )
    else:
        told = http.kept_headers(headers, vary)
    return http.make_page(
        status,
        told,
        body,
        started,
        shelf.clock.time(),
        lifetime,
        may_be_stale=may_be_stale,
        extras=extras,
    )


def needs_client(view: str, reason: str) -> str:
    """Tell what is wrong with a view that has no client, and wants one.

    :param reason: as of :func:`~dogpile.cache.integrations.http.why_not_kept`.
    """
    of = {"session": "the session", "user": "the user"}.get(reason)
    if of is None:
        header = reason.removeprefix("unkeyed-").title()
        of = f"the client's {header}"
    return (
        f"the view {view!r} reads {of} in the background, where there is no "
        "client: a page may only be made from what is in its key; name the header "
        "in vary=, or leave such a view uncached"
    )
