"""
Answers that are long: JSON, asked for part by part.
"""

import json
from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.protocols import amp

from corotwist.errors import NotExist, ServiceError
from corotwist.ipc.wire import parts

Ask = Callable[..., Deferred[dict[str, Any]]]


@define
class Taken:
    """
    What one client asks for, as it was when it asked for the first part.
    """

    _parts: list[tuple[bytes, bool]] = field(factory=list, init=False)

    def part(self, number: int | None, value: Callable[[], Any]) -> dict[str, Any]:
        """
        The answer for one part.

        @param value: makes what is asked for, of JSON values.
        @raise NotExist: there is no such part.
        """
        if not number:
            text = json.dumps(value(), default=str, sort_keys=True).encode()
            self._parts = [(data, more) for _, more, data in parts(text)]
        if (number or 0) >= len(self._parts):
            raise NotExist(f"there is no part {number}")
        data, more = self._parts[number or 0]
        return {"json": data, "more": more}


async def wholeJson(ask: Ask, command: type[amp.Command], **arguments: Any) -> Any:
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
