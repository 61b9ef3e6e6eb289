"""
Chance: one seed, and from it one independent source for each purpose.
"""

from hashlib import blake2b
from random import Random

SEED_BYTES = 16


def source(seed: int, *purpose: str | int) -> Random:
    """
    The random numbers of one purpose in the run with this seed.

    Sources of different purposes are independent: drawing more often from one
    does not change the others.  The same in every process, whatever
    C{PYTHONHASHSEED} is.
    """
    name = "/".join(map(str, (seed, *purpose))).encode()
    digest = blake2b(name, digest_size=SEED_BYTES).digest()
    return Random(int.from_bytes(digest, "big"))  # noqa: S311  Nothing secret.
