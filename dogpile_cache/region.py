"""The front door: configuration, and each operation for threads."""

from __future__ import annotations

import logging
import math
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, cast, overload

from dogpile.cache import config, keys, operations, registry, update as updates
from dogpile.cache.api import (
    NO_VALUE,
    CacheBackend,
    CachedValue,
    KeyManglerType,
    value_version,
)
from dogpile.cache.clock import SYSTEM_CLOCK, Clock
from dogpile.cache.codecs import CODEC_SETTINGS
from dogpile.cache.creation import Call, Many, Seen, wants_creation, with_arguments
from dogpile.cache.decorators import CachedFunction, decorated
from dogpile.cache.decorators_multi import CachedMultiFunction
from dogpile.cache.events import Events, Listener, Statistics
from dogpile.cache.exception import (
    BackendError,
    ConfigurationError,
    RegionAlreadyConfigured,
    RegionNotConfigured,
    ValidationError,
)
from dogpile.cache.fast import FastPath
from dogpile.cache.fast_bytes import BytesPath
from dogpile.cache.flow import FlightMutex, follow
from dogpile.cache.flow_multi import answer_many
from dogpile.cache.invalidation import (
    DefaultInvalidationStrategy,
    RegionInvalidationStrategy,
)
from dogpile.cache.policy import FRESH, Policy, seconds
from dogpile.cache.ports import THREAD_PORTS, run_now
from dogpile.cache.proxy import asked
from dogpile.cache.records import read_now
from dogpile.cache.registry import register_backend
from dogpile.cache.signature import takes
from dogpile.cache.storage import Storage
from dogpile.cache.twins import AsyncTwins

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = [
    "CacheRegion",
    "DefaultInvalidationStrategy",
    "RegionInvalidationStrategy",
    "make_region",
    "register_backend",
    "value_version",
]

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

log: logging.Logger = logging.getLogger(__name__)

# Under the name that tools written for 1.x import.
_backend_loader = registry.BACKENDS

# Seconds that close() waits for refreshes in the background.
_CLOSING = 5.0


class _Missing:
    """In place of what only a configured region has."""

    def __get__(self, region: Any, owner: Any = None) -> Any:
        if region is None:
            raise AttributeError("an attribute of regions that are configured")
        raise RegionNotConfigured(region._not_configured())


class CacheRegion(AsyncTwins):
    """A front end to a cache: one backend, one policy, one way to make keys.

    It can decorate functions at once, and be used as soon as
    :meth:`configure` was called.

    :param name: for configuration, events and the region's invalidation.
    :param function_key_generator: makes keys for decorated functions: called
        with the function, or with namespace and function, it returns a
        function from arguments to a key.
    :param function_multi_key_generator: the same for many keys.
    :param key_mangler: from keys to stored keys; ``None`` for the backend's,
        ``False`` for none at all.
    :param serializer: from a payload to bytes, or a name: ``"pickle"``,
        ``"json"``, ``"msgpack"``; for backends of bytes.
    :param deserializer: the way back, where ``serializer`` is a function.
    :param async_creation_runner: called as ``runner(region, key, creator,
        mutex)`` to create later what has expired; it releases the mutex.
    :param ignore_expiration: whether ``get()`` returns what has expired.
    :param generation_ttl: seconds for which this process does not ask again
        whether others have invalidated the region; 0 to ask each time.
    :param clock: what tells the time; for tests.
    :param statistics: whether to count events from the start.
    :param policy: fields of :class:`~dogpile.cache.Policy`.
    """

    def __init__(
        self,
        name: str | None = None,
        function_key_generator: Callable[..., Any] | None = None,
        function_multi_key_generator: Callable[..., Any] | None = None,
        key_mangler: KeyManglerType | bool | None = None,
        serializer: Any = None,
        deserializer: Any = None,
        async_creation_runner: Callable[..., Any] | None = None,
        *,
        ignore_expiration: bool = True,
        generation_ttl: float = 1.0,
        clock: Clock = SYSTEM_CLOCK,
        statistics: bool = False,
        **policy: Any,
    ) -> None:
        self.name = name
        self.function_key_generator: Callable[..., Any] = (
            function_key_generator or default_key_generator
        )
        self.function_multi_key_generator: Callable[..., Any] = (
            function_multi_key_generator or default_multi_key_generator
        )
        self._user_defined_key_mangler = key_mangler
        self.key_mangler = key_mangler if callable(key_mangler) else None
        self.async_creation_runner = async_creation_runner
        self.ignore_expiration = ignore_expiration
        self.clock = clock
        self.events: Events = Events(name)
        self.policy: Policy = Policy().merged(policy)
        self._generation_ttl = _known_for(generation_ttl)
        self._codec: dict[str, Any] = {
            "serializer": serializer,
            "deserializer": deserializer,
        }
        self._given_strategy: RegionInvalidationStrategy | None = None
        self._statistics: Statistics | None = None
        self._functions: weakref.WeakSet[Any] = weakref.WeakSet()
        self._parent: CacheRegion | None = None
        self._children: weakref.WeakSet[CacheRegion] = weakref.WeakSet()
        self._prefix = ""
        self._storage: Storage | None = None
        self._fast: FastPath | None = None
        self._bytes: BytesPath | None = None
        self.events.changed = self._bind
        if statistics:
            self.stats()
        if name is not None:
            registry.regions[name] = self

    def __repr__(self) -> str:
        backend = self.__dict__.get("actual_backend")
        of = type(backend).__name__ if backend is not None else "not configured"
        return f"<CacheRegion {self.name!r} ({of})>"

    # Configuration

    def configure(
        self,
        backend: Any,
        expiration_time: Any = None,
        arguments: Any = None,
        _config_argument_dict: Mapping[str, Any] | None = None,
        _unknown: config.Unknown = config.Unknown.TOLD,
        wrap: Sequence[Any] = (),
        replace_existing_backend: bool = False,
        region_invalidator: RegionInvalidationStrategy | None = None,
        **settings: Any,
    ) -> CacheRegion:
        """Give the region its backend.

        :param backend: a backend's name, or its class.
        :param expiration_time: seconds, or a ``timedelta``, that values are
            fresh for; ``None`` for ever.
        :param arguments: handed to the backend, typically a dictionary.
        :param wrap: ``ProxyBackend`` classes or instances, outermost first.
        :param replace_existing_backend: whether it may be configured already.
        :param region_invalidator: a 1.x strategy, instead of records that
            all processes see.
        :param settings: fields of ``Policy``, and of the codec.
        :return: this region.
        :raises RegionAlreadyConfigured: it has a backend.
        :raises ConfigurationError: a setting is no use.
        """
        if self.is_configured and not replace_existing_backend:
            raise RegionAlreadyConfigured(
                "This region is already configured with backend: "
                f"{self.actual_backend!r}; give replace_existing_backend=True "
                "to configure it again"
            )
        codec = dict(self._codec)
        codec.update((n, settings.pop(n)) for n in CODEC_SETTINGS & settings.keys())
        generation_ttl = self._generation_ttl
        if "generation_ttl" in settings:
            generation_ttl = _known_for(settings.pop("generation_ttl"))
        if expiration_time is not None:
            settings["expiration_time"] = expiration_time
        # In 1.x the lock of a creator that has died ended after that time.
        lock_timeout = config.argument(arguments, "lock_timeout")
        if lock_timeout and "lease_time" not in settings:
            settings["lease_time"] = seconds("lock_timeout", lock_timeout)
        policy = self.policy.merged(settings)
        parts = config.assemble(
            backend,
            arguments,
            wrap=config.load_proxies(wrap),
            codec=codec,
            context=self.name or "",
            unknown=_unknown,
        )
        self.policy = policy
        self._generation_ttl = generation_ttl
        self._codec = codec
        self._given_strategy = region_invalidator
        self._install(parts)
        return self

    def _install(self, parts: config.Parts) -> None:
        actual = parts.actual
        if self.clock is not SYSTEM_CLOCK:
            actual.clock = self.clock
        actual.report = self._report
        if self._user_defined_key_mangler is None:
            self.key_mangler = parts.backend.key_mangler
        elif self._user_defined_key_mangler is False:
            self.key_mangler = None
        self.actual_backend: CacheBackend = actual
        self.__dict__["backend"] = parts.backend
        self._parts = parts
        self._renew_storage()
        unguarded = parts.coder is not None and parts.coder.is_unguarded_pickle
        if unguarded and parts.backend.capabilities.network:
            log.warning(
                "region %r: whoever can write to the server can run code in this "
                "process, because values are pickled and not signed; give a "
                "signing_key, or serializer='json'",
                self.name,
            )

    def _renew_storage(self) -> None:
        """Make the storage anew from what the region has now."""
        parts = self._parts
        parent = self._parent
        before = self._storage
        self._storage = Storage(
            asked(parts.backend, None if before is None else before.backend),
            parts.actual,
            name=self._record_name(),
            prefix=self._prefix,
            mangler=self.key_mangler,
            coder=parts.coder,
            policy=self.policy,
            clock=self.clock,
            events=self.events,
            generation_ttl=self._generation_ttl,
            invalidator=self._given_strategy,
            parent=None if parent is None else parent.storage,
            before=before,
        )
        self._storage.shared.watchers[self] = self._watch()
        self._bind()
        if before is not None:
            self._storage.start_epoch()  # what is fresh may be another thing now
        for child in list(self._children):
            child._inherit()

    def _watch(self) -> Callable[[], None]:
        reference = weakref.ref(self)

        def epoch_changed() -> None:
            region = reference()
            if region is not None and region._fast is not None:
                region._fast.start_epoch()

        return epoch_changed

    def _record_name(self) -> str:
        name = self.name or ""
        return name if self._parent is None else self._prefix

    def _bind(self) -> None:
        """Bind the short ways to what a backend holds, where there are some."""
        self._unbind()
        storage = self._storage
        if storage is None:
            return
        if FastPath.fits(storage) and not self.events.wanted:
            self._fast = FastPath(self, storage)
            self._fast.bind(CacheRegion)
        elif BytesPath.fits(storage) and not self.events.wanted:
            self._bytes = BytesPath(self, storage)
            self._bytes.bind(CacheRegion)
        for function in list(self._functions):
            function.rebind()

    def _unbind(self) -> None:
        for name in _SHORT:
            self.__dict__.pop(name, None)
        if self._fast is not None:
            self._fast.retire()
        if self._bytes is not None:
            self._bytes.retire()
        self._fast = self._bytes = None

    def configure_from_config(
        self, config_dict: Mapping[str, Any], prefix: str, *, strict: bool = False
    ) -> CacheRegion:
        """Configure the region from a mapping of settings.

        :param config_dict: flat keys such as ``cache.local.backend``, or
            nested mappings; texts are coerced, ``5m`` is 300 seconds.
        :param prefix: of the region's keys, as in ``"cache.local."``.
        :param strict: refuse each argument that the backend does not know. Without,
            those that another backend knows, and sets of several that none knows,
            are only warned of: programs hand over one set for backends of all kinds.
        :return: this region.
        :raises ValidationError: a setting that nothing understands.
        """
        settings = config.read_settings(config_dict, prefix, strict=strict)
        unknown = config.Unknown.REFUSED if strict else config.Unknown.WEIGHED
        return self.configure(_unknown=unknown, **settings)

    @property
    def is_configured(self) -> bool:
        """Whether the region has a backend."""
        return "backend" in self.__dict__

    @property
    def storage(self) -> Storage:  # type: ignore[override]  # read only here
        """What the region reads from and writes to.

        :raises RegionNotConfigured: it has no backend.
        """
        storage = self._storage
        if storage is None or "backend" not in self.__dict__:
            raise RegionNotConfigured(self._not_configured())
        return storage

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
        # Without a backend, configure() binds everything anew.
        if name not in _REBINDING or not self.is_configured:
            return
        if self._storage is not None:
            self._changed(name, value)

    def __delattr__(self, name: str) -> None:
        object.__delattr__(self, name)
        if name == "backend":
            self._unbind()
            for function in list(self._functions):
                function.rebind()

    def _changed(self, name: str, value: Any) -> None:
        """Hear of an attribute that programs set after the configuration."""
        if name == "backend":
            config.trust_values(value, is_trusting=False)
            self._parts = self._parts._replace(backend=value)
        elif name == "region_invalidator":
            self._given_strategy = value
        self._renew_storage()

    def _not_configured(self) -> str:
        name = "" if self.name is None else f" ({self.name!r})"
        near = registry.BACKENDS.nearest(self.name or "", cutoff=0.8)
        hint = f" (a backend's name would be {near[0]!r})" if near else ""
        return (
            f"No backend is configured on this region.{name} Call configure() "
            f"or configure_from_config() before it is used{hint}"
        )

    @property
    def expiration_time(self) -> float | None:
        """Seconds that values are fresh for; ``None`` for ever."""
        return self.policy.expiration_time

    @expiration_time.setter
    def expiration_time(self, value: Any) -> None:
        self.policy = self.policy.merged({"expiration_time": value})

    @property
    def region_invalidator(self) -> RegionInvalidationStrategy:
        """The 1.x strategy in use; one of this process's own if none was given."""
        if self._given_strategy is None:
            return DefaultInvalidationStrategy()
        return self._given_strategy

    @region_invalidator.setter
    def region_invalidator(self, value: RegionInvalidationStrategy) -> None:
        self._changed("region_invalidator", value)

    @region_invalidator.deleter
    def region_invalidator(self) -> None:
        self._given_strategy = None

    def wrap(self, proxy: Any) -> None:
        """Put a proxy around the backend.

        :param proxy: a ``ProxyBackend`` class or instance.
        """
        outer = config.wrapped(proxy, self.backend)
        config.trust_values(outer, is_trusting=False)
        self._parts = self._parts._replace(backend=outer)
        self.__dict__["backend"] = outer
        self._renew_storage()

    def namespace(self, name: str, **policy: Any) -> CacheRegion:
        """Return a region within this one: own keys, policy and invalidation.

        An invalidation of this region is one of the namespace, too.

        :param name: part of the keys.
        :param policy: what it has otherwise than this region.
        :raises ValidationError: an empty name, or a setting that is no use.
        """
        if not name or not isinstance(name, str):
            raise ValidationError(f"a namespace needs a name, not {name!r}")
        child = type(self)(
            clock=self.clock,
            ignore_expiration=self.ignore_expiration,
            generation_ttl=self._generation_ttl,
            function_key_generator=self.function_key_generator,
            function_multi_key_generator=self.function_multi_key_generator,
            async_creation_runner=self.async_creation_runner,
        )
        child.name = f"{self.name or ''}/{name}"
        child.events.region = child.name
        child._own_policy = policy
        child._prefix = f"{self._prefix}{name}:"
        child._parent = self
        child.policy = self.policy.merged(policy)
        self._children.add(child)
        if self.is_configured:
            child._inherit()
        return child

    def _inherit(self) -> None:
        parent = self._parent
        if parent is None:
            return
        object.__setattr__(self, "policy", parent.policy.merged(self._own_policy))
        object.__setattr__(self, "key_mangler", parent.key_mangler)
        self.actual_backend = parent.actual_backend
        self.__dict__["backend"] = parent.backend
        self._given_strategy = parent._given_strategy
        self._parts = parent._parts
        self._renew_storage()

    # An instance has its own once it is configured; a ``__getattr__()`` instead
    # of these would slow every attribute down.
    if TYPE_CHECKING:
        backend: Any
    else:
        backend = actual_backend = _Missing()
    #: Programs for 1.x pop it beside ``backend``, to configure a region anew.
    _actual_backend = None

    _own_policy: Mapping[str, Any] = {}
    _parts: config.Parts

    # What the caller wants

    def _wishes(
        self,
        expiration_time: Any,
        should_cache_fn: Callable[[Any], bool] | None,
        policy: Mapping[str, Any],
    ) -> tuple[Policy, bool]:
        if expiration_time is None and should_cache_fn is None and not policy:
            return self.storage.policy, False
        settings = dict(policy)
        if should_cache_fn is not None:
            settings["should_cache_fn"] = should_cache_fn
        if callable(expiration_time):
            expiration_time = expiration_time()
        explicit = expiration_time is not None
        if explicit:
            settings["expiration_time"] = expiration_time
        return self.storage.wished(settings), explicit

    def _by_age(self, expiration_time: Any, ignore_expiration: bool | None) -> bool:
        if ignore_expiration is not None:
            return not ignore_expiration
        return expiration_time is not None or not self.ignore_expiration

    def _call(
        self,
        key: Any,
        creator: Callable[..., Any],
        policy: Policy,
        *,
        explicit: bool,
        creator_args: tuple[Any, Any] | None = None,
        takes_creation: bool | None = None,
        in_place: bool = False,
    ) -> Call:
        storage = self.storage
        creator = with_arguments(creator, creator_args)
        if takes_creation is None:
            takes_creation = not creator_args and wants_creation(creator)
        runner = self.async_creation_runner
        if in_place:
            runner = None
            if policy.hard_timeout is not None:  # kept by another thread
                policy = policy.merged({"hard_timeout": None})
        return Call(
            storage.coding.key(key),
            key,
            creator,
            policy,
            explicit=explicit,
            records=storage.records_for(policy),
            takes_creation=takes_creation,
            runner=None if runner is None else self._runner(key, creator),
            in_place=in_place,
        )

    def _runner(self, key: Any, creator: Callable[..., Any]) -> Callable[[Any], Any]:
        runner = cast("Callable[..., Any]", self.async_creation_runner)
        return lambda mutex: runner(self, key, creator, mutex)

    # Reading

    def get(
        self,
        key: Any,
        expiration_time: Any = None,
        ignore_expiration: bool | None = None,
    ) -> Any:
        """Return a stored payload, whatever its age, or ``NO_VALUE``.

        A value that was invalidated is never returned.

        :param expiration_time: only return what is younger, in seconds.
        :param ignore_expiration: whether the age is looked at; the default
            is the region's, unless ``expiration_time`` is given.
        """
        return self._get(key, expiration_time, ignore_expiration).payload

    def _get(
        self,
        key: Any,
        expiration_time: Any,
        ignore_expiration: bool | None,
        raw: Any = None,
    ) -> Any:
        """Return a stored value, or ``NO_VALUE``.

        :param raw: what the backend has, or the error that it had, if it was
            asked a moment ago.
        """
        storage = self.storage
        wished, explicit = self._wishes(expiration_time, None, {})
        by_age = self._by_age(expiration_time, ignore_expiration)
        names = storage.records_for(wished)
        stored = storage.coding.key(key)
        try:
            if isinstance(raw, BackendError):
                raise raw
            value, marks = read_now(storage, stored, names, raw)
        except BackendError as error:
            error.during("get")
            return operations.without_backend(storage, wished, error, stored).value
        good = operations.is_good(
            storage, value, wished, marks, by_age=by_age, explicit=explicit
        )
        if storage.events.wanted:
            operations.emit_get(storage, key, good)
        return value if good else NO_VALUE

    def get_value_metadata(
        self,
        key: Any,
        expiration_time: Any = None,
        ignore_expiration: bool | None = None,
    ) -> CachedValue | None:
        """Return the stored value with its metadata, or ``None``.

        :param expiration_time: as of :meth:`get`.
        :param ignore_expiration: as of :meth:`get`.
        """
        value = self._get(key, expiration_time, ignore_expiration)
        return value if isinstance(value, CachedValue) else None

    def get_multi(
        self,
        keys: Sequence[Any],
        expiration_time: Any = None,
        ignore_expiration: bool | None = None,
    ) -> list[Any]:
        """Return the payload of each key, or ``NO_VALUE``, in their order.

        :param expiration_time: as of :meth:`get`.
        :param ignore_expiration: as of :meth:`get`.
        """
        return self._get_multi(list(keys), expiration_time, ignore_expiration)

    def _get_multi(
        self,
        keys: list[Any],
        expiration_time: Any,
        ignore_expiration: bool | None,
        raws: Any = None,
    ) -> list[Any]:
        """Return the payload of each key, or ``NO_VALUE``.

        :param raws: as for :meth:`_get`, of each key.
        """
        wished, explicit = self._wishes(expiration_time, None, {})
        return run_now(
            operations.get_multi(
                THREAD_PORTS,
                self.storage,
                keys,
                wished,
                by_age=self._by_age(expiration_time, ignore_expiration),
                explicit=explicit,
                raws=raws,
            )
        )

    def get_or_create(
        self,
        key: Any,
        creator: Callable[..., Any],
        expiration_time: Any = None,
        should_cache_fn: Callable[[Any], bool] | None = None,
        creator_args: tuple[Any, Any] | None = None,
        *,
        in_place: bool = False,
        **policy: Any,
    ) -> Any:
        """Return the payload of a key; one caller creates it where need be.

        :param creator: returns the payload. It takes no argument, or one that
            is required: the :class:`~dogpile.cache.Creation`. What it raises
            goes to all who wait. If it returns ``NO_VALUE``, nothing is stored.
        :param expiration_time: seconds; for this call instead of the region's.
        :param should_cache_fn: says of the payload whether to store it.
        :param creator_args: ``(args, kwargs)`` for the creator.
        :param in_place: have it run in this thread, never in the background;
            there is no ``hard_timeout`` then.
        :param policy: other fields of ``Policy`` for this call.
        :raises CreatorTimeout: the creator took longer than ``hard_timeout``.
        :raises CreationCycleError: the creation needs its own key.
        """
        return self._get_or_create(
            key,
            creator,
            expiration_time,
            should_cache_fn,
            creator_args,
            policy,
            in_place=in_place,
        )

    def _get_or_create(
        self,
        key: Any,
        creator: Callable[..., Any],
        expiration_time: Any,
        should_cache_fn: Callable[[Any], bool] | None,
        creator_args: tuple[Any, Any] | None,
        policy: Mapping[str, Any],
        *,
        in_place: bool,
        raw: Any = None,
    ) -> Any:
        wished, explicit = self._wishes(expiration_time, should_cache_fn, policy)
        call = self._call(
            key,
            creator,
            wished,
            explicit=explicit,
            creator_args=creator_args,
            in_place=in_place,
        )
        return self._answer(call, raw)

    def _answer(self, call: Call, raw: Any = None) -> Any:
        """Answer a call.

        :param raw: as for :meth:`_get`.
        """
        storage = self.storage
        policy = call.policy
        is_local = storage.entries is not None
        epoch = storage.local.epoch if is_local else None
        value: Any
        try:
            if isinstance(raw, BackendError):
                raise raw
            value, marks = read_now(storage, call.key, call.records, raw)
        except BackendError as error:
            error.during("get_or_create")
            seen = operations.without_backend(storage, policy, error, call.key)
            value, verdict, marks = seen
        else:
            verdict = storage.judge(value, policy, marks, explicit=call.explicit)
        if verdict is FRESH:
            if "hit" in storage.events.wanted:
                storage.events.emit("hit", call.name)
            if is_local:
                storage.local.restamp(call.key, epoch)
            return value.payload
        return run_now(follow(THREAD_PORTS, storage, call, Seen(value, verdict, marks)))

    def get_or_create_multi(
        self,
        keys: Sequence[Any],
        creator: Callable[..., Any],
        expiration_time: Any = None,
        should_cache_fn: Callable[[Any], bool] | None = None,
        **policy: Any,
    ) -> list[Any]:
        """Return the payload of each key; the missing ones are created at once.

        :param creator: called as ``creator(*keys)`` with the keys that this
            caller is to create, each once; returns a payload for each.
        :param expiration_time: seconds; for this call instead of the region's.
        :param should_cache_fn: says of a payload whether to store it.
        :param policy: other fields of ``Policy`` for this call.
        :return: the payloads, in the order of the keys.
        :raises CreatorMismatch: there is not one payload for each key.
        """
        return self._get_or_create_multi(
            list(keys), creator, expiration_time, should_cache_fn, policy
        )

    def _get_or_create_multi(
        self,
        keys: list[Any],
        creator: Callable[..., Any],
        expiration_time: Any,
        should_cache_fn: Callable[[Any], bool] | None,
        policy: Mapping[str, Any],
        raws: Any = None,
    ) -> list[Any]:
        """Return the payload of each key.

        :param raws: as for :meth:`_get`, of each key.
        """
        wished, explicit = self._wishes(expiration_time, should_cache_fn, policy)
        storage = self.storage
        many = Many(creator, wished, explicit, storage.records_for(wished))
        return run_now(answer_many(THREAD_PORTS, storage, many, keys, raws))

    # Writing

    def put(self, key: Any, value: T, **policy: Any) -> T:
        """Store a value, and return it; creations of the key are voided.

        :param policy: fields of ``Policy`` that go before the region's, such
            as ``expiration_time`` and ``tags``.
        :raises Unserializable: the value cannot be turned into bytes.
        :raises BackendError: the backend could not store it.
        """
        wished, _ = self._wishes(None, None, policy)
        return self._put(key, value, wished)

    def _put(self, key: Any, value: T, policy: Policy) -> T:
        run_now(operations.put(THREAD_PORTS, self.storage, key, value, policy))
        return value

    def set(self, key: Any, value: T, **policy: Any) -> T:
        """Store a value, and return it; the 1.x name of :meth:`put`."""
        return self.put(key, value, **policy)

    def put_multi(self, mapping: Mapping[Any, Any], **policy: Any) -> None:
        """Store a value for each key, in one step.

        :param policy: as of :meth:`put`.
        """
        wished, _ = self._wishes(None, None, policy)
        run_now(operations.put_multi(THREAD_PORTS, self.storage, mapping, wished))

    def set_multi(self, mapping: Mapping[Any, Any], **policy: Any) -> None:
        """Store values; the 1.x name of :meth:`put_multi`."""
        self.put_multi(mapping, **policy)

    def update(
        self,
        key: Any,
        change: Callable[[CachedValue | None], Any],
        **policy: Any,
    ) -> Any:
        """Replace a value by what a function makes of it.

        Whoever writes in between is not overwritten: the function is called
        again, with their value. As far as that holds among processes, it
        is said by the backend's leases.

        :param change: gets the stored value, or ``None`` where there is none
            that is fresh. It returns a payload, which is stored as by
            :meth:`put`; or the value with another payload or metadata; or
            ``NO_VALUE``, to leave things as they are. It has to be quick, and
            may be called several times.
        :param policy: as of :meth:`put`.
        :return: the payload that is stored now, or ``NO_VALUE``.
        :raises BackendError: the backend failed.

        >>> region = make_region("dogpile.cache.memory")
        >>> region.update("visits", lambda old: old.payload + 1 if old else 1)
        1
        """
        wished, _ = self._wishes(None, None, policy)
        return run_now(updates.update(THREAD_PORTS, self.storage, key, change, wished))

    def delete(self, key: Any) -> None:
        """Remove a value; creations of the key are voided.

        It is no error if there is none.
        """
        run_now(operations.delete_multi(THREAD_PORTS, self.storage, [key]))

    def delete_multi(self, keys: Sequence[Any]) -> None:
        """Remove the values of all the keys, in one step."""
        run_now(operations.delete_multi(THREAD_PORTS, self.storage, list(keys)))

    def invalidate(self, hard: bool = True) -> None:
        """Invalidate all values of the region, for every process.

        :param hard: they are gone; else they are stale, which takes an
            ``expiration_time`` other than ``None``.
        """
        storage = self.storage
        names = (storage.record,)
        run_now(operations.invalidate(THREAD_PORTS, storage, names, hard=hard))

    def invalidate_tags(self, *tags: str, hard: bool = True) -> None:
        """Invalidate all values that have one of the tags, for every process.

        :param hard: they are gone; else they are stale.
        """
        storage = self.storage
        names = storage.tag_records(tags)
        run_now(operations.invalidate(THREAD_PORTS, storage, names, hard=hard))

    def iter_keys(self, start: str = "") -> Iterator[str]:
        """Yield the stored keys that begin so, namespaces' included.

        Among them may be keys whose values have expired, or were invalidated.
        It takes a walk through all that the backend has.

        :raises ConfigurationError: the backend cannot tell, or has other keys
            than the region.
        """
        storage = self.storage
        walk = getattr(self.actual_backend, "iter_keys", None)
        if walk is None:
            raise ConfigurationError(
                f"{type(self.actual_backend).__name__} cannot tell its keys: give "
                "the values a tag, and invalidate that"
            )
        if storage.mangler is not None:
            raise ConfigurationError(
                f"the region {self.name!r} has a key_mangler, from whose keys there "
                "is no way back: give the values a tag, and invalidate that"
            )
        size = len(storage.prefix)
        return (each[size:] for each in walk(storage.prefix + start))

    def key_is_locked(self, key: Any) -> bool:
        """Return whether the value of a key is being created, by anybody."""
        return run_now(operations.is_locked(THREAD_PORTS, self.storage, key))

    def _mutex(self, key: Any) -> FlightMutex:
        return FlightMutex(self.storage, key, None)

    # Decorators

    @overload
    def cache_on_arguments(self, namespace: F, /) -> F: ...

    @overload
    def cache_on_arguments(
        self,
        namespace: str | None = None,
        expiration_time: Any = None,
        should_cache_fn: Callable[[Any], bool] | None = None,
        to_str: Callable[[Any], str] | None = None,
        function_key_generator: Callable[..., Any] | None = None,
        *,
        key: str | Callable[..., str] | None = None,
        ignore: str | Sequence[str] = (),
        tags: Any = (),
        version: Any = None,
        **policy: Any,
    ) -> Callable[[F], F]: ...

    def cache_on_arguments(
        self, namespace: Any = None, *given: Any, **options: Any
    ) -> Any:
        """Decorate a function: its value is cached by its arguments.

        With and without parentheses; for functions, methods, class methods,
        static methods and coroutine functions. The function gets ``get``,
        ``set``, ``put``, ``refresh``, ``invalidate``, ``key``, ``original``
        and ``region``.

        :param namespace: sets its keys apart from those of its like.
        :param expiration_time: seconds, or a function that returns them.
        :param should_cache_fn: says of a value whether to store it.
        :param to_str: writes an argument into the key.
        :param function_key_generator: makes the keys.
        :param key: the key, as a format string over the parameters, such as
            ``"user:{user_id}"``, or a function of the arguments.
        :param ignore: parameters that have no part in the key.
        :param tags: names, format strings, or a function of the arguments.
        :param version: of the code; another version has other values.
        :param policy: other fields of ``Policy``.
        """
        options.update(_named(_OPTIONS, given, options))
        return decorated(self, CachedFunction, namespace, options)

    @overload
    def cache_multi_on_arguments(self, namespace: F, /) -> F: ...

    @overload
    def cache_multi_on_arguments(
        self,
        namespace: str | None = None,
        expiration_time: Any = None,
        should_cache_fn: Callable[[Any], bool] | None = None,
        asdict: bool = False,
        to_str: Callable[[Any], str] | None = None,
        function_multi_key_generator: Callable[..., Any] | None = None,
        **policy: Any,
    ) -> Callable[[F], F]: ...

    def cache_multi_on_arguments(
        self, namespace: Any = None, *given: Any, **options: Any
    ) -> Any:
        """Decorate a function of many keys: each argument has its own value.

        The function is called with the arguments whose values are missing,
        and returns a sequence of values in their order.

        :param namespace: sets its keys apart from those of its like.
        :param expiration_time: seconds, or a function that returns them.
        :param should_cache_fn: says of a value whether to store it.
        :param asdict: the function returns a dictionary by argument, which
            may leave out what has no value.
        :param to_str: writes an argument into the key.
        :param function_multi_key_generator: makes the keys.
        :param policy: other fields of ``Policy``.
        """
        options.update(_named(_MULTI_OPTIONS, given, options))
        return decorated(self, CachedMultiFunction, namespace, options)

    # Seeing, and ending

    def on(self, event: str, listener: Listener) -> Callable[[], None]:
        """Call a function at each event of a kind.

        :param event: a name of :data:`dogpile.cache.events.EVENTS`, or ``"*"``.
        :param listener: called with an :class:`~dogpile.cache.events.Event`.
        :return: what ends it.
        """
        return self.events.on(event, listener)

    def stats(self) -> dict[str, float]:
        """Return counts of events, from the first time they were asked for."""
        if self._statistics is None:
            self._statistics = Statistics()
            self.events.on("*", self._statistics)
        return self._statistics.snapshot()

    def _report(self, name: str, details: Mapping[str, Any]) -> None:
        given = dict(details)
        self.events.emit(name, given.pop("key", None), **given)

    def close(self) -> None:
        """Wait for refreshes in the background, and close the backend's clients.

        The region may be used again after; it opens them anew.
        """
        storage = self._storage
        if storage is not None:
            storage.pending.wait(_CLOSING)
            storage.backend.close()

    async def aclose(self) -> None:
        """Close the region; the twin of ``close()``."""
        storage = self._storage
        if storage is not None:
            await operations.close(storage, _CLOSING)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()


# What the decorators of 1.x take by position, behind the namespace.
_OPTIONS = (
    "expiration_time",
    "should_cache_fn",
    "to_str",
    "function_key_generator",
)
_MULTI_OPTIONS = (
    "expiration_time",
    "should_cache_fn",
    "asdict",
    "to_str",
    "function_multi_key_generator",
)


def _named(
    names: tuple[str, ...], given: tuple[Any, ...], options: Mapping[str, Any]
) -> dict[str, Any]:
    """Return by name what a decorator was given by position."""
    if len(given) > len(names):
        raise TypeError(
            f"the decorator takes at most {len(names) + 1} arguments by position: "
            f"namespace, {', '.join(names)}"
        )
    named = dict(zip(names, given, strict=False))
    for name in named.keys() & options.keys():
        raise TypeError(f"the decorator got {name} twice")
    return named


def _known_for(generation_ttl: Any) -> float:
    known_for = seconds("generation_ttl", generation_ttl)
    return math.inf if known_for is None else known_for


# What may be bound to shorter ways of the same.
_SHORT = ("get", "get_multi", "get_or_create", "get_or_create_multi", "put", "set")

# Attributes that 1.x programs set after the region was configured.
_REBINDING = frozenset({"backend", "key_mangler", "policy"})


def default_key_generator(
    namespace: str | None, fn: Callable[..., Any], to_str: Any = None
) -> Callable[..., str]:
    """Return what makes the keys of a function, in the 1.x form of a generator.

    Arguments that the function does not take have a key in the 1.x form: programs ask
    for keys of calls that are not made.
    """
    made = keys.compile_key(keys.plan(fn, namespace=namespace, to_str=to_str))

    def generate_key(*args: Any, **kwargs: Any) -> str:
        try:
            return made(*args, **kwargs)
        except TypeError:
            if kwargs or takes(fn, args):
                raise
        return keys.function_key_generator(namespace, fn, to_str or str)(*args)

    return generate_key


def default_multi_key_generator(
    namespace: str | None, fn: Callable[..., Any], to_str: Any = None
) -> Callable[..., list[str]]:
    """Return what makes the keys of a function of many keys."""
    made = keys.multi_plan(fn, namespace=namespace, to_str=to_str)
    return lambda *args: made.keys(args)


def make_region(
    name_or_backend: str | None = None,
    *given: Any,
    name: str | None = None,
    expiration_time: Any = None,
    arguments: Any = None,
    **settings: Any,
) -> CacheRegion:
    """Make a region.

    :param name_or_backend: a backend that is registered configures the region
        at once; any other string is the region's name.
    :param name: the region's name.
    :param expiration_time: seconds that values are fresh for.
    :param arguments: for the backend.
    :param settings: what :class:`CacheRegion` takes, and what ``configure()``
        does where a backend is named.

    >>> region = make_region("dogpile.cache.memory", expiration_time=60)
    >>> region.put("somekey", "somevalue")
    'somevalue'
    """
    backend = None
    if name_or_backend is not None:
        if registry.BACKENDS.knows(name_or_backend):
            backend = name_or_backend
        elif name_or_backend.startswith("dogpile.cache."):
            registry.BACKENDS.load(name_or_backend)  # says which names are near
        elif name is None:
            name = name_or_backend
        else:
            # Two names: the first one was meant to be a backend.
            registry.BACKENDS.load(name_or_backend)
    if backend is None and arguments is not None:
        near = registry.BACKENDS.nearest(name_or_backend or "")
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValidationError(
            "make_region() got arguments for a backend, and no backend: "
            f"{name_or_backend!r} is none that is registered{hint}"
        )
    later = {n: settings.pop(n) for n in _CONFIGURED & settings.keys()}
    if backend is None and later:
        raise ValidationError(
            f"make_region() got {', '.join(sorted(later))}, which go with a "
            "backend; name one, or hand them to configure()"
        )
    if expiration_time is not None:
        settings["expiration_time"] = seconds("expiration_time", expiration_time)
    region = CacheRegion(name, *given, **settings)
    if backend is not None:
        region.configure(backend, arguments=arguments, **later)
    return region


_CONFIGURED = (CODEC_SETTINGS - {"serializer", "deserializer"}) | {
    "wrap",
    "region_invalidator",
}
