"""
The numbers that all of corosync's libraries share.

Every call returns a L{CsError}, alone or as the first of several values where
the C call fills in pointers.
"""

from collections.abc import Callable
from enum import IntEnum
from functools import wraps
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from corotwist.errors import ServiceError

Parameters = ParamSpec("Parameters")
Handle = TypeVar("Handle")


class CsError(IntEnum):
    """
    C{cs_error_t}.
    """

    CS_OK = 1
    CS_ERR_LIBRARY = 2
    CS_ERR_VERSION = 3
    CS_ERR_INIT = 4
    CS_ERR_TIMEOUT = 5
    CS_ERR_TRY_AGAIN = 6
    CS_ERR_INVALID_PARAM = 7
    CS_ERR_NO_MEMORY = 8
    CS_ERR_BAD_HANDLE = 9
    CS_ERR_BUSY = 10
    CS_ERR_ACCESS = 11
    CS_ERR_NOT_EXIST = 12
    CS_ERR_NAME_TOO_LONG = 13
    CS_ERR_EXIST = 14
    CS_ERR_NO_SPACE = 15
    CS_ERR_INTERRUPT = 16
    CS_ERR_NAME_NOT_FOUND = 17
    CS_ERR_NO_RESOURCES = 18
    CS_ERR_NOT_SUPPORTED = 19
    CS_ERR_BAD_OPERATION = 20
    CS_ERR_FAILED_OPERATION = 21
    CS_ERR_MESSAGE_ERROR = 22
    CS_ERR_QUEUE_FULL = 23
    CS_ERR_QUEUE_NOT_AVAILABLE = 24
    CS_ERR_BAD_FLAGS = 25
    CS_ERR_TOO_BIG = 26
    CS_ERR_NO_SECTIONS = 27
    CS_ERR_CONTEXT_NOT_FOUND = 28
    CS_ERR_TOO_MANY_GROUPS = 30
    CS_ERR_SECURITY = 100


class Dispatch(IntEnum):
    """
    C{cs_dispatch_flags_t}.
    """

    CS_DISPATCH_ONE = 1
    CS_DISPATCH_ALL = 2
    CS_DISPATCH_BLOCKING = 3
    CS_DISPATCH_ONE_NONBLOCKING = 4


CS_OK: Final = CsError.CS_OK
CS_ERR_LIBRARY: Final = CsError.CS_ERR_LIBRARY
CS_ERR_TIMEOUT: Final = CsError.CS_ERR_TIMEOUT
CS_ERR_TRY_AGAIN: Final = CsError.CS_ERR_TRY_AGAIN
CS_ERR_INVALID_PARAM: Final = CsError.CS_ERR_INVALID_PARAM
CS_ERR_BAD_HANDLE: Final = CsError.CS_ERR_BAD_HANDLE
CS_ERR_ACCESS: Final = CsError.CS_ERR_ACCESS
CS_ERR_NOT_EXIST: Final = CsError.CS_ERR_NOT_EXIST
CS_ERR_NAME_TOO_LONG: Final = CsError.CS_ERR_NAME_TOO_LONG
CS_ERR_EXIST: Final = CsError.CS_ERR_EXIST
CS_ERR_NOT_SUPPORTED: Final = CsError.CS_ERR_NOT_SUPPORTED
CS_ERR_NO_SECTIONS: Final = CsError.CS_ERR_NO_SECTIONS
CS_ERR_TOO_BIG: Final = CsError.CS_ERR_TOO_BIG
CS_DISPATCH_ONE: Final = Dispatch.CS_DISPATCH_ONE
CS_DISPATCH_ALL: Final = Dispatch.CS_DISPATCH_ALL
CS_DISPATCH_BLOCKING: Final = Dispatch.CS_DISPATCH_BLOCKING
CS_DISPATCH_ONE_NONBLOCKING: Final = Dispatch.CS_DISPATCH_ONE_NONBLOCKING
CS_TRACK_CURRENT: Final = 1
CS_TRACK_CHANGES: Final = 2
CS_TRACK_CHANGES_ONLY: Final = 4


def status(
    function: Callable[Concatenate[Handle, Parameters], None],
) -> Callable[Concatenate[Handle, Parameters], CsError]:
    """
    A call without results: what it raises becomes the number that it returns.
    """

    @wraps(function)
    def call(
        handle: Handle, /, *arguments: Parameters.args, **named: Parameters.kwargs
    ) -> CsError:
        try:
            function(handle, *arguments, **named)
        except ServiceError as error:
            return CsError(error.code)
        return CS_OK

    return call


def results(
    count: int,
) -> Callable[
    [Callable[Concatenate[Handle, Parameters], tuple[Any, ...]]],
    Callable[Concatenate[Handle, Parameters], tuple[Any, ...]],
]:
    """
    A call with so many results: behind the number, each L{None} when the
    number is not L{CS_OK}.
    """

    def decorate(
        function: Callable[Concatenate[Handle, Parameters], tuple[Any, ...]],
    ) -> Callable[Concatenate[Handle, Parameters], tuple[Any, ...]]:
        @wraps(function)
        def call(
            handle: Handle, /, *arguments: Parameters.args, **named: Parameters.kwargs
        ) -> tuple[Any, ...]:
            try:
                return (CS_OK, *function(handle, *arguments, **named))
            except ServiceError as error:
                return (CsError(error.code), *[None] * count)

        return call

    return decorate
