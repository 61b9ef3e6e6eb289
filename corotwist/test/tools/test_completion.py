"""
What shells are told of our commands.
"""

import subprocess
import sys
from io import StringIO
from shutil import which

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from corotwist.tools import completion
from corotwist.tools.completion import CompletionOptions, names, paths, run
from corotwist.tools.grammar import Grammar, Option, whole
from corotwist.tools.keywishes import LONG_OPTIONS
from corotwist.tools.main import COMMANDS
from corotwist.tools.quorumtool import QuorumOptions

SMALL = Grammar(
    "",
    (Option(("--help",), value=False, text="it's how: to"),),
    {
        "one": Grammar("the first", (Option(("--file", "-f"), value=True),)),
        "two": Grammar("", (), {"deep": Grammar("deeper", words=("red", "blue"))}),
    },
)
# Tells what a line is completed to, as bash does.
ASK = """
ask() {
    COMP_WORDS=("$@")
    COMP_CWORD=$(($# - 1))
    _corotwist
    echo "${COMPREPLY[@]}"
}
"""


class GrammarTests(SynchronousTestCase):
    """
    What the parsers know.
    """

    def setUp(self) -> None:
        self.whole = whole()

    def test_commands(self) -> None:
        """
        Every command is there, and every sub-command. (F27)
        """
        self.assertEqual([*self.whole.commands], [*COMMANDS])
        found = {path for path, _ in paths(self.whole)}
        for path in (("cfg", "reload"), ("config", "convert"), ("quorumtool",)):
            self.assertIn(path, found)

    def test_options(self) -> None:
        """
        Every option is there under all its names, whatever parses it; those
        that take a value are told apart. (F27)
        """
        options = self.whole.commands["quorumtool"].options
        parser = QuorumOptions()
        letters = {f"-{letter}" for letter in parser.shortOpt.replace(":", "")}
        longs = {f"--{name.rstrip('=')}" for name in parser.longOpt if len(name) > 2}
        self.assertEqual({*names(options)}, letters | longs)
        takers = {name for one in options if one.value for name in one.names}
        self.assertLessEqual({"-e", "--expected", "-o", "--socket"}, takers)
        self.assertFalse(takers & {"-s", "--json", "-V"})
        mapped = names(self.whole.commands["cmapctl"].options)
        self.assertLessEqual({f"--{n.rstrip('=')}" for n in LONG_OPTIONS}, {*mapped})
        reload = self.whole.commands["cfg"].commands["reload"]
        doctor = self.whole.commands["doctor"]
        for asking in (reload, self.whole.commands["confdb"], doctor):
            where = {"--socket", "--state-dir", "--timeout"}
            self.assertLessEqual(where, {*names(asking.options)})

    def test_words(self) -> None:
        """
        What the first argument may be, is there. (F27)
        """
        fence = self.whole.commands["fence"]
        self.assertEqual(fence.words, ("status", "confirm"))
        for shell in completion.SHELLS.values():
            lines = [one for one in shell(self.whole) if "fence" in one]
            self.assertTrue(any("status" in one for one in lines))
            self.assertTrue(any("confirm" in one for one in lines))

    def test_nobodyForgotten(self) -> None:
        """
        Every command has an option at least: help. (F27)
        """
        for path, inner in paths(self.whole):
            self.assertIn("--help", names(inner.options), path)


class BashTests(SynchronousTestCase):
    """
    The script for bash, in bash.
    """

    def complete(self, grammar: Grammar, *lines: str) -> list[list[str]]:
        """
        Each line is completed at its end.
        """
        if which("bash") is None:
            raise SkipTest("there is no bash")
        asked = [f"ask {line}" for line in lines]
        script = "\n".join([*completion.bash(grammar), ASK, *asked])
        done = subprocess.run(
            ["bash", "--norc", "-c", script], capture_output=True, text=True, check=True
        )
        self.assertEqual(done.stderr, "")
        return [line.split() for line in done.stdout.splitlines()]

    def test_small(self) -> None:
        """
        Commands, sub-commands, options, arguments, and nothing where a value
        stands. (F27)
        """
        self.assertEqual(
            self.complete(
                SMALL,
                "corotwist ''",
                "corotwist o",
                "corotwist one --",
                "corotwist one --file ''",
                "corotwist one -f x ''",
                "corotwist two ''",
                "corotwist two deep b",
            ),
            [
                *(["one", "two", "--help"], ["one"], ["--file"], []),
                *(["--file", "-f"], ["deep"], ["blue"]),
            ],
        )

    def test_whole(self) -> None:
        """
        Every command and every option of ours is offered. (F27)
        """
        everything = [(p, g) for p, g in paths(whole()) if p]
        lines = [f"corotwist {' '.join(path)} ''" for path, _ in everything]
        offered = self.complete(whole(), *lines)
        for (path, inner), found in zip(everything, offered, strict=True):
            expected = [*inner.commands, *inner.words, *names(inner.options)]
            self.assertEqual(found, expected, path)


class OtherShellsTests(SynchronousTestCase):
    """
    The scripts for zsh and fish.
    """

    def check(self, shell: str, script: str) -> None:
        """
        The shell can read it.
        """
        if which(shell) is not None:
            subprocess.run([shell, "-n"], input=script, text=True, check=True)

    def test_zsh(self) -> None:
        """
        Words with what they are for; colons would end them. (F27)
        """
        script = "\n".join(completion.zsh(SMALL))
        self.assertIn("'one:the first'", script)
        self.assertIn("--help:it'\"'\"'s how; to", script)
        self.assertIn("values=(--file -f)", script)
        self.check("zsh", script)
        self.check("zsh", "\n".join(completion.zsh(whole())))

    def test_fish(self) -> None:
        """
        A line for each word, behind the words before it. (F27)
        """
        lines = [*completion.fish(SMALL)]
        self.assertIn(
            "complete -c corotwist -n '__fish_seen_subcommand_from one'"
            " -l file -s f -r -d ''",
            lines,
        )
        self.assertIn(
            "complete -c corotwist -f -n '__fish_seen_subcommand_from two; and"
            " __fish_seen_subcommand_from deep' -a 'red blue'",
            lines,
        )
        self.check("fish", "\n".join(completion.fish(whole())))


class RunTests(SynchronousTestCase):
    """
    The command line.
    """

    def setUp(self) -> None:
        self.output, self.errors = StringIO(), StringIO()
        self.patch(sys, "stdout", self.output)
        self.patch(sys, "stderr", self.errors)

    def test_shells(self) -> None:
        """
        A script for each shell. (F27)
        """
        for shell in CompletionOptions.words:
            self.assertEqual(run([shell]), 0)
        self.assertIn("complete -o default -F _corotwist", self.output.getvalue())
        self.assertIn("#compdef corotwist", self.output.getvalue())

    def test_wrongUse(self) -> None:
        """
        There are no others. (F27)
        """
        for wrong in ([], ["tcsh"], ["bash", "zsh"], ["--nonsense"]):
            self.assertEqual(run(wrong), 2)
        self.assertIn("there are bash, zsh, fish", self.errors.getvalue())
