"""
Configurations in every format: read, judged, written and read again.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from corotwist.config.build import Environment, fromReading
from corotwist.config.formats.registry import BUILT_IN
from corotwist.config.keys import keysOf
from corotwist.errors import ConfigurationError
from corotwist.interfaces import IConfigurationEngine
from corotwist.test.config.factories import FakeHost, conf, deriveKey, loadKey
from corotwist.test.fuzz.mutate import BYTES, TEXT, numeral
from corotwist.test.fuzz.target import Target, Wrong

_CLUSTER: Final = b"""<?xml version="1.0"?>
<cluster name="c" config_version="2">
  <cman two_node="1" expected_votes="1"><multicast addr="239.1.1.1"/></cman>
  <!-- nodes -->
  <clusternodes>
    <clusternode name="10.0.0.1" nodeid="1" votes="1"><altname name="a"/></clusternode>
    <clusternode name="10.0.0.2" nodeid="2"><fence/></clusternode>
  </clusternodes>
  <totem token="5000"><interface ttl="3"/></totem>
  <logging debug="on"><logging_daemon name="corosync" subsys="CPG"/></logging>
  <uidgid uid="5"/>
</cluster>
"""
_WORDS: Final = {
    "xml": (
        *(b"<!DOCTYPE x [<!ENTITY a 'b'>]>", b"<!--", b"-->", b"<![CDATA[", b"]]>"),
        *(b"<corosync>", b"</corosync>", b"<a/>", b"&a;", b"&#0;", b"&#x10FFFF;"),
        *(b'a="1"', b"<?x y?>", b"\xef\xbb\xbf", b'encoding="utf-16"', b"\xc3\xa9"),
    ),
    "toml": (
        *(b"[a]", b"[[a]]", b"a.b = 1", b'"', b'"""', b"'''", b"{ a = 1 }", b"[1, 2]"),
        *(
            b"\\u0000",
            b"\\ud800",
            b"1979-05-27",
            b"inf",
            b"0x1F",
            b"1_000",
            b"#",
            b"= ",
        ),
        *(b"[nodelist]", b"[[nodelist.node]]", b"\r\n", b"\r", b"true", b"1e400"),
    ),
    "json": (
        *(b"{", b"}", b"[", b"]", b'"a": ', b'"\\ud800"', b"null", b"true", b"NaN"),
        *(b"1e999", b"-0", b"[" * 400, b"1" * 5000, b'"totem": {', b"\xef\xbb\xbf"),
    ),
    "corosync": (b" {\n", b"}\n", b"a: b\n", b"#", b"\r\n", b"\xc2\xa0", b"a: {\n"),
}
_WORDS_OF: Final = {**_WORDS, "cluster": (*_WORDS["xml"], b"<cluster>", b"<cman>")}
_MEMORY: Final = {"corosync": 220, "xml": 250, "cluster": 250, "toml": 250, "json": 250}


def targets() -> Iterator[Target]:
    """
    One for each format.
    """
    for engine in BUILT_IN:
        yield Target(
            f"format.{engine.name}",
            f"configurations: {engine.summary}",
            partial(partial, _tried, engine),
            partial(_seeds, engine),
            damages=(*BYTES, *TEXT, numeral),
            words=_WORDS_OF[engine.name],
            share=0.001,
            # Sections, options, places and problems are objects.
            swell=_MEMORY[engine.name],
            roomBytes=256 << 10,
            alone=partial(_read, engine),
            growing=_GROWING[engine.name],
        )


def _read(engine: IConfigurationEngine, data: bytes) -> None:
    engine.read(data, "f")


def _tried(engine: IConfigurationEngine, data: bytes) -> None:
    """
    It is understood, or told why not; what is written means the same.
    """
    reading = engine.read(data, "f")
    around = Environment(FakeHost(), {}, 0, loadKey, deriveKey)
    outcome = fromReading(reading, around)
    if reading.problems and not outcome.problems:
        raise Wrong("problems are gone")
    lines = data.count(b"\n") + data.count(b"\r") + 1
    for problem in outcome.problems:
        str(problem).encode(errors="strict")
        if not 0 <= problem.line <= lines:
            raise Wrong(f"line {problem.line} of {lines}")
    if reading.problems or reading.notes:
        return
    try:
        written = engine.write(reading.document, data)
    except ConfigurationError:
        if engine.name in {"toml", "json"}:
            raise
        return
    again = engine.read(written.text.encode(), "f")
    if again.problems:
        raise Wrong(f"written, it cannot be read: {again.problems[0]}")
    if not written.notes or engine.name == "json":
        _compare(keysOf(reading.document), keysOf(again.document))


def _compare(before: object, after: object) -> None:
    assert isinstance(before, tuple)
    assert isinstance(after, tuple)
    if dict(before) != dict(after):
        different = set(before) ^ set(after)
        raise Wrong(f"written, it means something else: {sorted(map(str, different))}")


def _seeds(engine: IConfigurationEngine) -> list[bytes]:
    if engine.name == "cluster":
        return [_CLUSTER, b"<cluster/>"]
    source = next(one for one in BUILT_IN if one.name == "corosync")
    texts = (conf(), conf("# one\ntoken: 1000", quorum="provider: x", node="name: a"))
    documents = [source.read(text.encode(), "f").document for text in texts]
    return [engine.write(document).text.encode() for document in documents]


def _xml(name: str, size: int) -> list[bytes]:
    head, tail = f"<{name}>".encode(), f"</{name}>".encode()
    attributes = " ".join(f'a{at}="1"' for at in range(size // 8)).encode()
    return [
        head + b"<a/>" * (size // 4) + tail,
        head + b"<a b='1'>\n</a>" * (size // 14) + tail,
        b"<" + name.encode() + b" " + attributes + b"/>",
        head + b"x<a/>" * (size // 5) + tail,
        head + b"<!--\n-->" * (size // 8) + tail,
        head * (size // len(head)),
    ]


def _toml(size: int) -> list[bytes]:
    return [
        b"".join(b"a%d = 1\n" % at for at in range(size // 9)),
        b"[[a]]\nb = 1\n" * (size // 12),
        b"a = [" + b"{},\n" * (size // 4) + b"]",
        b"# x\n" * (size // 4),
        b"a = " + b"[" * size,
        b'a = """' + b"\n" * size + b'"""',
    ]


def _json(size: int) -> list[bytes]:
    return [
        b'{"a":[' + b"{},\n" * (size // 4) + b"{}]}",
        b"{" + b",".join(b'"a%d":1' % at for at in range(size // 9)) + b"}",
        b'{"a":[' + b"[1],\n" * (size // 5) + b"[]]}",
        b'{"a":' * (size // 5),
        b"[" * size,
    ]


def _corosync(size: int) -> list[bytes]:
    return [
        b"a {\nb: 1\n}\n" * (size // 11),
        b"a {\n" * (size // 4),
        b"#\n" * (size // 2),
    ]


_GROWING: Final[dict[str, Callable[[int], list[bytes]]]] = {
    "corosync": _corosync,
    "xml": partial(_xml, "corosync"),
    "cluster": partial(_xml, "cluster"),
    "toml": _toml,
    "json": _json,
}
