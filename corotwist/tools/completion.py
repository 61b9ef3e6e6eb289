"""
C{corotwist completion}: scripts that teach shells what can be typed, made from the
parsers of the tools: so they are as true as these.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from shlex import quote
from typing import Final

from twisted.python.usage import UsageError

from corotwist.options import Options
from corotwist.tools.grammar import Grammar, Option, whole

WRONG_USE: Final = 2

Path = tuple[str, ...]


class CompletionOptions(Options):
    """
    For which shell.
    """

    synopsis = "Usage: corotwist completion bash|zsh|fish"
    longdesc = (
        'Prints a script.  For bash: eval "$(corotwist completion bash)"; for zsh'
        " write it to a file _corotwist in a directory of $fpath, for fish to"
        " ~/.config/fish/completions/corotwist.fish."
    )

    words = ("bash", "zsh", "fish")
    opt_h = Options.opt_help

    def parseArgs(self, shell: str) -> None:  # type: ignore[override]
        """
        The one argument.
        """
        if shell not in SHELLS:
            raise UsageError(f"{shell!r}: there are {', '.join(SHELLS)}")
        self["shell"] = shell


def run(argv: Sequence[str]) -> int:
    """
    Print a script.

    @return: the exit status.
    """
    options = CompletionOptions()
    try:
        options.parseOptions(list(argv))
    except UsageError as error:
        sys.stderr.write(f"corotwist completion: {error}\n{options.getSynopsis()}\n")
        return WRONG_USE
    except SystemExit as end:  # From --help.
        return int(end.code or 0)
    sys.stdout.write("".join(f"{line}\n" for line in SHELLS[options["shell"]](whole())))
    return 0


def paths(grammar: Grammar, path: Path = ()) -> Iterator[tuple[Path, Grammar]]:
    """
    Every command with what stands before it, sub-commands first: the more there
    is, the better it fits.
    """
    for name, inner in grammar.commands.items():
        yield from paths(inner, (*path, name))
    yield path, grammar


def names(options: Iterable[Option]) -> list[str]:
    """
    All of all options.
    """
    return [name for option in options for name in option.names]


# bash: words for each command; values and arguments are files.


def bash(grammar: Grammar) -> Iterator[str]:
    """
    For C{eval}, or a file in C{bash_completion.d}.
    """
    yield "_corotwist() {"
    yield '    local current="${COMP_WORDS[COMP_CWORD]}"'
    yield '    local before="${COMP_WORDS[COMP_CWORD - 1]}" words="" values=""'
    yield '    local path="${COMP_WORDS[*]:1:COMP_CWORD - 1} "'
    yield '    case "$path" in'
    for path, inner in paths(grammar):
        start = "".join(f"{name}\\ " for name in path)
        every = [*inner.commands, *inner.words, *names(inner.options)]
        words = quote(" ".join(every))
        takers = quote(" ".join(names(o for o in inner.options if o.value)))
        yield f"        {start}*) words={words} values={takers} ;;"
    yield "    esac"
    yield "    COMPREPLY=()"
    yield '    case " $values " in'
    yield '        *" $before "*) return ;;'
    yield "    esac"
    yield '    COMPREPLY=($(compgen -W "$words" -- "$current"))'
    yield "}"
    yield "complete -o default -F _corotwist corotwist"


# zsh: the same, with what each is for.


def zsh(grammar: Grammar) -> Iterator[str]:
    """
    For a file C{_corotwist} in C{fpath}.
    """
    yield "#compdef corotwist"
    yield "_corotwist() {"
    yield "    local -a found values"
    yield '    local path="${(j: :)words[2,CURRENT-1]} "'
    yield '    case "$path" in'
    for path, inner in paths(grammar):
        start = "".join(f"{name}\\ " for name in path)
        rows = [(name, below.text) for name, below in inner.commands.items()]
        rows += [(word, "") for word in inner.words]
        rows += [(name, one.text) for one in inner.options for name in one.names]
        shown = " ".join(quote(f"{name}:{_flat(text)}") for name, text in rows)
        takers = " ".join(names(o for o in inner.options if o.value))
        yield f"        {start}*) found=({shown}); values=({takers}) ;;"
    yield "    esac"
    yield "    if (( ${values[(Ie)${words[CURRENT-1]}]} )); then"
    yield "        _files"
    yield "    else"
    yield "        _describe corotwist found || _files"
    yield "    fi"
    yield "}"
    yield "compdef _corotwist corotwist"


def _flat(text: str) -> str:
    """
    On one line; a colon would end the name before it.
    """
    return " ".join(text.split()).replace(":", ";")


# fish: a line for each word.


def fish(grammar: Grammar) -> Iterator[str]:
    """
    For a file in C{completions}.
    """
    for path, inner in paths(grammar):
        where = _whereFish(path)
        for name, below in inner.commands.items():
            about = quote(_flat(below.text))
            yield f"complete -c corotwist -f -n {where} -a {name} -d {about}"
        if inner.words:
            words = quote(" ".join(inner.words))
            yield f"complete -c corotwist -f -n {where} -a {words}"
        for option in inner.options:
            yield f"complete -c corotwist -n {where} {_optionFish(option)}"


def _whereFish(path: Path) -> str:
    if not path:
        return "__fish_use_subcommand"
    seen = "; and ".join(f"__fish_seen_subcommand_from {name}" for name in path)
    return quote(seen)


def _optionFish(option: Option) -> str:
    spelled = [
        f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}"
        for name in option.names
    ]
    value = ["-r"] if option.value else []
    return " ".join([*spelled, *value, f"-d {quote(_flat(option.text))}"])


SHELLS: Final = {"bash": bash, "zsh": zsh, "fish": fish}
