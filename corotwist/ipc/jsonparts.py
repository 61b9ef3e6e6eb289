"""
Answers that are JSON: values, and what is so long that it is asked for part by
part.
"""

import json
from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.protocols import amp

from corotwist.errors import NotExist, ServiceError
from corotwist.ipc.wire import parts

Json = Any
Ask = Callable[..., Deferred[dict[str, Any]]]


class JsonText(amp.Argument):
    """
    Any JSON value.
    """

    def fromString(self, inString: bytes) -> Json:
        return json.loads(inString)

    def toString(self, inObject: Json) -> bytes:
        return json.dumps(inObject, default=str, sort_keys=True).encode()


@define
class Taken:
    """
    What one client asks for, as it was when it asked for the first part.
    """

    _parts: list[tuple[bytes, bool]] = field(factory=list, init=False)

    def part(self, number: int | None, value: Callable[[], Json]) -> dict[str, Any]:
        """
        The answer for one part.

        @param value: makes what is asked for.
        @raise NotExist: there is no such part.
        """
        return self.later(number) if number else self.first(value())

    def first(self, value: Json) -> dict[str, Any]:
        """
        The answer for part 0 of a value.
        """
        text = JsonText().toString(value)
        self._parts = [(data, more) for _, more, data in parts(text)]
        return self.later(0)

    def later(self, number: int) -> dict[str, Any]:
        """
        The answer for a part of what was taken before.

        @raise NotExist: there is no such part.
        """
        if number >= len(self._parts):
            raise NotExist(f"there is no part {number}")
        data, more = self._parts[number]
        return {"json": data, "more": more}


async def wholeJson(ask: Ask, command: type[amp.Command], **arguments: Any) -> Json:
    """
    Ask for all parts.

    @raise ServiceError: as it was answered, or when it is no JSON.
    """
    text, part, more = b"", 0, True
    while more:
        answer = await ask(command, part=part, **arguments)
        text += answer["json"]
        more = answer["more"]
        part += 1
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ServiceError(f"the node's answer is no JSON: {error}") from error
