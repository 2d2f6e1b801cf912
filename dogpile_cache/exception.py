"""Every error that this package raises itself.

The tree, with the four branches that a caller may want to tell apart::

    DogpileCacheException
    ├── ConfigurationError          the program is wrong
    │   ├── ValidationError         a setting has a wrong name or value
    │   ├── PluginNotFound          no backend of that name
    │   ├── RegionAlreadyConfigured
    │   ├── RegionNotConfigured
    │   ├── UncacheableArgument     an argument cannot be part of a key
    │   └── CoroutineCreatorError   a coroutine where a value was wanted
    ├── BackendError                the world is wrong
    │   ├── BackendUnavailable      gone, mute, or not answering in time
    │   ├── UnsafeFile              a cache file that others may have written
    │   └── ValueTooLarge           more bytes than the backend takes
    ├── CodecError                  the bytes are wrong: counts as a miss
    │   ├── CantDeserializeException
    │   └── Unserializable          the value cannot become bytes
    └── CreationError               a creation did not end with a value
        ├── CreatorTimeout          alias CreationTimeout
        ├── CreationCycleError      a creation needs its own key
        └── CreatorMismatch         a multi-key creator broke its contract
"""

from __future__ import annotations


class DogpileCacheException(Exception):
    """Base of every error that this package raises itself."""


class ConfigurationError(DogpileCacheException):
    """The program or its settings are wrong."""


class ValidationError(ConfigurationError, ValueError):
    """A setting has a name that nobody knows, or a value that is no use."""


class PluginNotFound(ConfigurationError):
    """No backend is registered under the name asked for."""


class RegionAlreadyConfigured(ConfigurationError):
    """A region was configured for the second time."""


class RegionNotConfigured(ConfigurationError):
    """A region was used before it was configured."""


class UncacheableArgument(ConfigurationError, ValueError):
    """An argument of a cached function has no stable representation.

    :param function: the function's qualified name.
    :param parameter: the parameter that the argument was given for.
    :param kind: the argument's type, by its qualified name.
    """

    def __init__(self, function: str, parameter: str, kind: str) -> None:
        super().__init__(
            f"{function}(): the argument for {parameter!r} ({kind}) has another "
            "representation in each process, so that it cannot be part of a cache "
            f"key; leave it out with ignore=[{parameter!r}], or give its class a "
            "method __cache_key__() that returns a string"
        )
        self.function = function
        self.parameter = parameter
        self.kind = kind

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.function, self.parameter, self.kind)


class CoroutineCreatorError(ConfigurationError, TypeError):
    """A creator returns a coroutine where its value was wanted."""


class BackendError(DogpileCacheException):
    """A backend failed at an operation.

    :param backend: the registered name, as in ``"dogpile.cache.redis"``.
    :param operation: the method that failed, as in ``"get"``.
    :param reason: what went wrong, without any stored value.
    """

    def __init__(self, backend: str, operation: str, reason: str = "") -> None:
        super().__init__(_told(backend, operation, reason))
        self.backend = backend
        self.operation: str = operation
        self.reason = reason

    def during(self, operation: str) -> None:
        """Tell it as an error of the operation that its caller asked for.

        :param operation: whose part the one was that failed.
        """
        # A class of somebody else's may have a text of its own.
        if self.args == (_told(self.backend, self.operation, self.reason),):
            super().__init__(_told(self.backend, operation, self.reason))
            self.operation = operation

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.backend, self.operation, self.reason)


def _told(backend: str, operation: str, reason: str) -> str:
    return f"{backend} failed at {operation}()" + (f": {reason}" if reason else "")


class BackendUnavailable(BackendError):
    """A backend is gone, mute, or does not answer in time."""


class UnsafeFile(BackendError):
    """A cache file or its folder could have been written by somebody else."""


class ValueTooLarge(BackendError):
    """A value has more bytes than the backend takes."""


class CodecError(DogpileCacheException):
    """Stored bytes do not decode; readers take it for a miss."""


class CantDeserializeException(CodecError):
    """A deserializer refuses the bytes that it was given (a 1.x name)."""


class Unserializable(CodecError):
    """A value cannot be turned into bytes by the region's serializer."""


class CreationError(DogpileCacheException):
    """A creation did not end with a value."""


class CreatorTimeout(CreationError, TimeoutError):
    """A creator, or the wait for one, took longer than it may."""


CreationTimeout = CreatorTimeout


class CreationCycleError(CreationError, RuntimeError):
    """A creation needs, directly or through others, its own key.

    :param chain: the keys, from the first creation to the one it waits for.
    """

    def __init__(self, chain: tuple[object, ...]) -> None:
        super().__init__(
            f"a creation needs its own key: {' -> '.join(map(repr, chain))}; its "
            "creator, or the function given to update(), asks for a value that "
            "waits for it: take that value before, or create it there anew"
        )
        self.chain = chain

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.chain,)


class CreatorMismatch(CreationError, ValueError):
    """A multi-key creator did not return one value for each key."""
