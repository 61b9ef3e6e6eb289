"""
Fixtures for pytest.  In C{conftest.py}::

    pytest_plugins = ["corotwist.simulator.fixtures"]

and a test has clusters, each run with several seeds::

    def test_partition(makeCluster):
        cluster = makeCluster(size=3)
        ...

C{--corotwist-seeds} says how many, C{--corotwist-first-seed} from where on.
When a test fails, pytest shows its seed, what happened last on the nodes, and
the command that repeats it; with C{--corotwist-diagrams DIRECTORY} the whole
run is written there as a page.

This module needs pytest, and nothing else of corotwist needs it.
"""

import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, Final

import pytest

from corotwist.simulator.cluster import Cluster
from corotwist.simulator.diagram import page

DEFAULT_SEEDS: Final = 5
# What a failure shows of each cluster, when no judge told more.
RECORDS_SHOWN: Final = 40

MakeCluster = Callable[..., Cluster]
_KEPT: Final = pytest.StashKey[list[Cluster]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """
    The options of the command line.
    """
    group = parser.getgroup("corotwist", "simulated clusters")
    group.addoption(
        "--corotwist-seeds",
        type=int,
        default=DEFAULT_SEEDS,
        metavar="N",
        help=f"runs of each test with makeCluster (default: {DEFAULT_SEEDS})",
    )
    group.addoption(
        "--corotwist-first-seed",
        type=int,
        default=0,
        metavar="N",
        help="the seed of the first of them (default: 0)",
    )
    group.addoption(
        "--corotwist-diagrams",
        metavar="DIRECTORY",
        help="write the runs of tests that fail there, as pages",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """
    Each test that makes clusters has several seeds.
    """
    if "makeCluster" in metafunc.fixturenames:
        first = metafunc.config.getoption("--corotwist-first-seed")
        count = metafunc.config.getoption("--corotwist-seeds")
        seeds = range(first, first + count)
        metafunc.parametrize(
            "corotwistSeed", seeds, ids=[f"seed{seed}" for seed in seeds]
        )


@pytest.fixture
def corotwistSeed() -> int:
    """
    The seed of this run.
    """
    return 0  # Replaced for every test that makes clusters.


@pytest.fixture
def makeCluster(request: pytest.FixtureRequest, corotwistSeed: int) -> MakeCluster:
    """
    Makes a L{Cluster} with this run's seed; arguments are the cluster's.
    """
    made: list[Cluster] = []
    request.node.stash[_KEPT] = made
    test = request.node.nodeid.split("[", 1)[0]
    replay = (
        f"{Path(sys.executable).name} -m pytest {test}"
        f" --corotwist-seeds 1 --corotwist-first-seed {corotwistSeed}"
    )
    diagrams = request.config.getoption("--corotwist-diagrams") is not None

    def make(size: int = 3, **options: Any) -> Cluster:
        options = dict[str, Any](seed=corotwistSeed, replay=replay) | options
        options.setdefault("keepTrace", diagrams)
        cluster = Cluster(size, **options)
        made.append(cluster)
        return cluster

    return make


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """
    Say what is known of the clusters of a test that failed.
    """
    report = yield
    if report.when == "call" and report.failed:
        directory = item.config.getoption("--corotwist-diagrams")
        made: list[Cluster] = item.stash.get(_KEPT, [])
        for number, cluster in enumerate(made):
            text = _story(cluster)
            if directory is not None:
                text += f"\nas a page: {_write(cluster, item, number, directory)}"
            report.sections.append((f"simulated cluster {number + 1}", text))
    return report


def _story(cluster: Cluster) -> str:
    records = [*cluster.trace.lines()][-RECORDS_SHOWN:]
    when = f"{cluster.jury.title}, stopped at {cluster.seconds():.6f} s"
    return "\n".join([when, f"replay: {cluster.replay}", *records])


def _write(cluster: Cluster, item: pytest.Item, number: int, directory: str) -> Path:
    name = "".join(c if c.isalnum() else "-" for c in item.nodeid)
    path = Path(directory) / f"{name}-{number + 1}.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(cluster, item.nodeid))
    return path
