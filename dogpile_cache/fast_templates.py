"""What the short ways consist of: functions as text, with words to be filled in.

Text, so that each region gets only the steps that it needs, and no cells: a
closure looks its names up more slowly. Words in capitals are replaced by
:mod:`~dogpile.cache.fast` and :mod:`~dogpile.cache.fast_bytes`; all other names are
globals that these hand over.
"""

from __future__ import annotations

from typing import Final

_ENTRIES_GET = """
def get(key, expiration_time=None, ignore_expiration=None):
    try:
        entry = entries[STORED_KEY]
    except KeyError:
        if expiration_time is None:
            return NO_VALUE
        return general_get(key, expiration_time, ignore_expiration)
    payload = entry.payload
    if (
        entry.reader is reader
        and expiration_time is None
        and ignore_expiration is not False
    ):
        MARK
        return payload
    return general_get(key, expiration_time, ignore_expiration)
"""

_ENTRIES_GET_MULTI = """
def get_multi(keys, expiration_time=None, ignore_expiration=None):
    keys = list(keys)
    if expiration_time is not None or ignore_expiration is False:
        return general_get_multi(keys, expiration_time, ignore_expiration)
    payloads = []
    add = payloads.append
    odd = []
    current = reader
    for entry in map(entries.get, STORED_KEYS):
        if entry is None:
            add(NO_VALUE)
            continue
        payload = entry.payload
        if entry.reader is current:
            MARK
            add(payload)
        else:
            odd.append(len(payloads))
            add(NO_VALUE)
    if odd:
        found = general_get_multi([keys[place] for place in odd])
        for place, payload in zip(odd, found):
            payloads[place] = payload
    return payloads
"""

_ENTRIES_GET_OR_CREATE = """
def get_or_create(
    key,
    creator,
    expiration_time=None,
    should_cache_fn=None,
    creator_args=None,
    *,
    in_place=False,
    **settings,
):
    try:
        entry = entries[STORED_KEY]
        payload = entry.payload
        if (
            IS_CURRENT
            and entry.born <= clock.time() < entry.until
            and expiration_time is None
            and not settings
        ):
            MARK
            return payload
    except KeyError:
        is_plain = (
            plain is not None
            and type(creator) is FunctionType
            and not creator.__code__.co_argcount
            and expiration_time is None
            and should_cache_fn is None
            and creator_args is None
            and not settings
        )
    else:
        is_plain = False
    # Out here, so that a creator's error has no KeyError for its context.
    if is_plain:
        payload = create(STORED_KEY, creator, plain)
        if payload is not OTHERWISE:
            return payload
    return general_get_or_create(
        key,
        creator,
        expiration_time,
        should_cache_fn,
        creator_args,
        in_place=in_place,
        **settings,
    )
"""

_ENTRIES_GET_OR_CREATE_MULTI = """
def get_or_create_multi(
    keys, creator, expiration_time=None, should_cache_fn=None, **settings
):
    keys = list(keys)
    # Making them may have taken its time.
    if expiration_time is not None or settings or is_mixed:
        return general_get_or_create_multi(
            keys, creator, expiration_time, should_cache_fn, **settings
        )
    payloads = []
    add = payloads.append
    odd = []
    now = clock.time()
    for entry in map(entries.get, STORED_KEYS):
        if entry is not None:
            payload = entry.payload
            if IS_CURRENT and entry.born <= now < entry.until:
                MARK
                add(payload)
                continue
        odd.append(len(payloads))
        add(NO_VALUE)
    if odd:
        others = [keys[place] for place in odd]
        made = general_get_or_create_multi(others, creator, None, should_cache_fn)
        for place, payload in zip(odd, made):
            payloads[place] = payload
    return payloads
"""

#: Reading entries of this process, by the operation's name.
ENTRIES: Final = {
    "get": _ENTRIES_GET,
    "get_multi": _ENTRIES_GET_MULTI,
    "get_or_create": _ENTRIES_GET_OR_CREATE,
    "get_or_create_multi": _ENTRIES_GET_OR_CREATE_MULTI,
}

_BYTES_GET = """
def get(key, expiration_time=None, ignore_expiration=None):
    until, version, _, _, _, _, _, tail, counted, each = known
    if (
        version is not shared.version
        or clock.monotonic() >= until
        or expiration_time is not None
        or ignore_expiration is False
    ):
        payload = general_get(key, expiration_time, ignore_expiration)
        arm()
        return payload
    stored = STORED
    try:
        raw = read(stored)
    except BackendError as error:
        raw = error
    else:
        try:
            if len(raw) < LARGE:
                head, _, pickled = OPENED.partition(b"|")
                if head.endswith(tail) and IS_OURS:
                    return loads(pickled)
        except Exception:
            pass
        raw = peeked(raw)
    return region._get(key, None, ignore_expiration, raw).payload
"""

_BYTES_GET_OR_CREATE = """
def get_or_create(
    key,
    creator,
    expiration_time=None,
    should_cache_fn=None,
    creator_args=None,
    *,
    in_place=False,
    **settings,
):
    until, version, since, till, oldest, newest, dot, tail, counted, each = known
    raw = None
    if (
        version is shared.version
        and clock.monotonic() < until
        and since <= clock.time() < till
        and expiration_time is None
        and not settings
    ):
        stored = STORED
        try:
            raw = read(stored)
        except BackendError as error:
            raw = error
        else:
            try:
                if len(raw) < LARGE:
                    head, _, pickled = OPENED.partition(b"|")
                    if (
                        head.endswith(tail)
                        and oldest <= head <= newest
                        and head[dot] == 46
                    ):
                        return loads(pickled)
            except Exception:
                pass
            raw = peeked(raw)
    else:
        arm()
    return region._get_or_create(
        key,
        creator,
        expiration_time,
        should_cache_fn,
        creator_args,
        settings,
        in_place=in_place,
        raw=raw,
    )
"""

_BYTES_GET_MULTI = """
def get_multi(keys, expiration_time=None, ignore_expiration=None):
    until, version, _, _, _, _, _, tail, counted, each = known
    if (
        version is not shared.version
        or clock.monotonic() >= until
        or expiration_time is not None
        or ignore_expiration is False
        or not keys
    ):
        payloads = general_get_multi(keys, expiration_time, ignore_expiration)
        arm()
        return payloads
    keys = list(keys)
    stored_keys = keys_of(keys)
    try:
        raws = read_multi(stored_keys)
    except BackendError as error:
        return region._get_multi(keys, None, ignore_expiration, error)
    payloads = []
    add = payloads.append
    heads = []
    note = heads.append
    # All at once, as they mostly are alike; as far as the first odd one.
    try:
        if ARE_OURS:
            for WANTED:
                head, _, pickled = OPENED.partition(b"|")
                add(loads(pickled))
                note(head)
    except Exception:
        pass
    are_known = (
        heads
        and b"".join(heads).count(counted) == each * len(heads)
        and HAVE_TIMES
    )
    if are_known and len(heads) == len(raws):
        return payloads
    del payloads[len(heads) if are_known else 0 :]
    odd = []
    for REMAINING:
        if raw is None or raw is NO_VALUE:
            add(NO_VALUE)
            continue
        try:
            head, _, pickled = OPENED.partition(b"|")
            if head.endswith(tail) and IS_OURS:
                add(loads(pickled))
                continue
        except Exception:
            pass
        odd.append(len(payloads))
        add(NO_VALUE)
    if odd:
        found = region._get_multi(
            [keys[place] for place in odd],
            None,
            ignore_expiration,
            [peeked(raws[place]) for place in odd],
        )
        for place, payload in zip(odd, found):
            payloads[place] = payload
    return payloads
"""

_BYTES_GET_OR_CREATE_MULTI = """
def get_or_create_multi(
    keys, creator, expiration_time=None, should_cache_fn=None, **settings
):
    until, version, since, till, oldest, newest, dot, tail, counted, each = known
    keys = list(keys)
    raws = None
    if (
        version is shared.version
        and clock.monotonic() < until
        and since <= clock.time() < till
        and expiration_time is None
        and not settings
        and keys
    ):
        stored_keys = keys_of(keys)
        try:
            raws = read_multi(stored_keys)
        except BackendError as error:
            raws = error
        else:
            payloads = []
            add = payloads.append
            heads = []
            note = heads.append
            try:
                if ARE_FRESH:
                    for WANTED:
                        head, _, pickled = OPENED.partition(b"|")
                        add(loads(pickled))
                        note(head)
                    if (
                        b"".join(heads).count(counted) == each * len(heads)
                        and HAVE_FRESH_TIMES
                        and all([head[dot] == 46 for head in heads])
                    ):
                        return payloads
            except Exception:
                pass
            raws = list(map(peeked, raws))
    else:
        arm()
    return region._get_or_create_multi(
        keys, creator, expiration_time, should_cache_fn, settings, raws
    )
"""

_BYTES_PUT = """
def put(key, value, **policy):
    until, version, metadata, tail, ttl = writing
    if version is not shared.version or clock.monotonic() >= until or policy:
        general_put(key, value, **policy)
        arm()
        return value
    stored = STORED
    try:
        raw = ENCODED
    except Exception:
        return general_put(key, value)
    void(stored)
    if last:
        last.pop(stored, None)
    try:
        WRITTEN
    except BackendError as error:
        error.during("put")
        raise
    return value
"""

#: Reading and writing bytes.
BYTES: Final = {
    "get": _BYTES_GET,
    "get_or_create": _BYTES_GET_OR_CREATE,
    "get_multi": _BYTES_GET_MULTI,
    "get_or_create_multi": _BYTES_GET_OR_CREATE_MULTI,
    "put": _BYTES_PUT,
    "set": _BYTES_PUT.replace("put(", "set("),
}
