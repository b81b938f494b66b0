"""Storage that does not answer: what passes by itself and is tried again, and what does not."""

from __future__ import annotations

import errno
import platform
import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from sefar.errors import StoreError

T = TypeVar("T")

PATIENCE_SECONDS = 20.0  # how long an operation is tried again unless the caller says otherwise
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.2, 5.0

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)
PASSING = {
    *(errno.ESTALE, errno.EIO, errno.EREMOTEIO, errno.EAGAIN, errno.EINTR, errno.ETIMEDOUT, errno.EPIPE),
    *(errno.ECONNRESET, errno.ECONNREFUSED, errno.ECONNABORTED, errno.ENOTCONN, errno.ESHUTDOWN),
    *(errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH, errno.ENETRESET),
}
# object stores: Arrow gives the AWS SDK's error type or the HTTP status in the text, and Google's status code
PASSING_TEXT = re.compile(
    r"NETWORK_CONNECTION|SLOW_DOWN|THROTTL|SERVICE_UNAVAILABLE|INTERNAL_FAILURE|REQUEST_TIMEOUT"
    r"|HTTP status (408|429|500|502|503|504)|\b(UNAVAILABLE|DEADLINE_EXCEEDED|RESOURCE_EXHAUSTED)\b"
    r"|timed out|connection (was )?(reset|refused|closed)"
)
CERTIFICATE = re.compile(r"curlCode: (58|60|77)\b")  # reported as NETWORK_CONNECTION, but it stays as it is
DENIED = re.compile(r"ACCESS_DENIED|INVALID_ACCESS_KEY_ID|SIGNATURE|EXPIRED|ExpiredToken|HTTP status (401|403)")


class StorageOutage(StoreError):
    """The storage did not answer for as long as was waited; it may do so later.

    Attributes:
        reason: what the last try met, in a few words.
    """

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


class FolderGone(OSError):
    """A local store's folder is not there on this host, or something else is, such as an empty mount point."""

    def __init__(self, folder: str) -> None:
        super().__init__(errno.ESTALE, f"no store in {folder} on host {platform.node()}: its folder has gone")

    def __str__(self) -> str:
        return str(self.strerror)


def is_passing(error: OSError) -> bool:
    """Whether the failure may be gone when tried again: connection, timeout, overload, a stale file handle."""
    if error.errno is not None:
        return error.errno in PASSING
    if isinstance(error, ConnectionError | TimeoutError):
        return True
    text = re.sub(r"'[^']*'", "", str(error))  # names of buckets and keys are the user's
    return bool(PASSING_TEXT.search(text)) and not CERTIFICATE.search(text)


def persist(
    work: Callable[[], T],
    where: str,
    done: str,
    patience_seconds: float = PATIENCE_SECONDS,
    missing_raises: bool = False,
) -> T:
    """Run `work` until it succeeds or the patience is over.

    Args:
        work: what is tried; it must not matter how often.
        where: the place, for the error.
        done: what was to be done there: ``read``, ``written``.
        patience_seconds: no try starts later than that; 0: a single try.
        missing_raises: let FileNotFoundError through.

    Raises:
        StorageOutage: the storage did not answer in time.
        StoreError: what trying again does not mend.
    """
    started, pause = time.monotonic(), FIRST_PAUSE_SECONDS
    while True:
        try:
            return work()
        except OSError as error:
            if missing_raises and isinstance(error, FileNotFoundError):
                raise
            waited = time.monotonic() - started
            if not is_passing(error) or waited + pause > patience_seconds:
                raise _explanation(error, where, done, waited) from error
        # apart from one another, or all trials of a sweep would knock at once
        time.sleep(pause * random.SystemRandom().uniform(0.75, 1.0))
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


@contextmanager
def explained(where: str, done: str) -> Iterator[None]:
    """Turn an OSError into a StoreError that names the place and the mend."""
    try:
        yield
    except OSError as error:
        raise _explanation(error, where, done, 0.0) from error


def _explanation(error: OSError, where: str, done: str, waited_seconds: float) -> StoreError:
    reason = short_reason(error)
    text = reason.lower()
    if error.errno in NO_SPACE or "no space left" in text or "quota" in text or "storagefull" in text:
        mend = "no space left there; free some, or give another --store, and run the same command again"
    elif error.errno in READ_ONLY or "read-only" in text or "access denied" in text:
        mend = "read-only or not permitted; give a --store that you may write to"
    elif "NO_SUCH_BUCKET" in str(error):
        mend = "there is no such bucket; create it, or correct --store or AWS_ENDPOINT_URL"
    elif DENIED.search(str(error)):
        mend = (
            f"access denied ({reason}); check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and the bucket's "
            "policy"
        )
    elif is_passing(error):
        waited = f" for {waited_seconds:.0f} s" if waited_seconds >= 1 else ""
        if isinstance(error, FolderGone):
            return StorageOutage(
                f"{where}: cannot be {done}{waited}: {reason}; mount it there and run the same command again, or give "
                "--store a folder that all nodes share, or s3://…",
                reason,
            )
        return StorageOutage(
            f"{where}: cannot be {done}: the storage does not answer{waited} ({reason}); check the connection, and run "
            "the same command again",
            reason,
        )
    else:
        mend = f"{reason}; check the path and the connection"
    return StoreError(f"{where}: cannot be {done}: {mend}")


def short_reason(error: OSError) -> str:
    """What the storage said, in one line, without request numbers."""
    text = " ".join(str(error).split())
    for marker in ("Details: ", " operation: "):
        _, found, after = text.partition(marker)
        if found and after.strip() and not after.startswith("No response body"):
            text = after
    code = re.search(r"AWS Error (\w+)(?: \((HTTP status \d+)\))?", text)  # still there: nothing better was said
    text = re.sub(r" ?\(Request ID: [^)]*\)", "", code[2] or code[1] if code else text)
    return text.strip().rstrip(".")[:200]
