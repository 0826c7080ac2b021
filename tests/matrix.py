"""Which combinations prove something, where all of them would prove it again and again.

`MATRIX=full`, which `make matrix` sets, takes all of them instead.
"""

import hashlib
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import asdict, fields, replace
from functools import cache

from tests.gates.files import files_in
from tests.template import COMBINATIONS, Combination, Rendered, choices

IS_FULL = os.environ.get("MATRIX") == "full"

QUESTIONS = tuple(field.name for field in fields(Combination))


@cache
def pairs() -> tuple[Combination, ...]:
    """Few combinations in which any two answers to two questions occur together."""
    if IS_FULL:
        return COMBINATIONS
    parts = {
        combination: set(itertools.combinations(asdict(combination).items(), 2))
        for combination in COMBINATIONS
    }
    return tuple(cover(parts))


def modules(rendered: Rendered) -> list[Combination]:
    """Few combinations in which every distinct Python module of all projects occurs."""
    if IS_FULL:
        return list(COMBINATIONS)
    parts = {
        combination: {it for it in contents(rendered, combination).items() if it[0].endswith(".py")}
        for combination in COMBINATIONS
    }
    return cover(parts)


def cover(parts: Mapping[Combination, Set[object]]) -> list[Combination]:
    """Combinations whose parts together are all parts: always the one that adds most."""
    left = set[object]().union(*parts.values())
    chosen: list[Combination] = []
    while left:
        best = max(parts, key=lambda it: len(parts[it] & left))
        chosen.append(best)
        left -= parts[best]
    return chosen


def contents(rendered: Rendered, combination: Combination) -> dict[str, str]:
    """A digest of each file of a project."""
    project = rendered(combination)
    return {
        name: hashlib.sha256((project / name).read_bytes()).hexdigest()
        for name in files_in(project)
    }


def dependences(of: dict[Combination, dict[str, str]]) -> dict[str, set[str]]:
    """The questions whose answers change what is in a file, where the file is."""
    found: dict[str, set[str]] = {}
    for combination, files_of_it in of.items():
        for question, other in neighbours(combination, of):
            for name in files_of_it.keys() & of[other].keys():
                found.setdefault(name, set())
                if files_of_it[name] != of[other][name]:
                    found[name].add(question)
    return found


def neighbours(
    combination: Combination, among: Iterable[Combination]
) -> Iterator[tuple[str, Combination]]:
    """Those that differ in one answer, with its question."""
    there = dict.fromkeys(among)  # in their order, which all of pytest's workers need alike
    for question in QUESTIONS:
        for other in dict.fromkeys(getattr(it, question) for it in there):
            neighbour = replace(combination, **{question: other})
            if neighbour != combination and neighbour in there:
                yield question, neighbour


def transitions() -> list[tuple[Combination, str, str]]:
    """Changes of an answer, each in one combination: before, question, after.

    From each answer to the next one and back, in a circle. The files of an answer go when it
    is left and come when it is given, whichever the other answer is.
    """
    if IS_FULL:
        return [
            (before, question, getattr(after, question))
            for before in COMBINATIONS
            for question, after in neighbours(before, COMBINATIONS)
        ]
    changes = []
    for question in QUESTIONS:
        answers = choices(question)
        circle = list(zip(answers, [*answers[1:], answers[0]], strict=True))
        for one, other in [*circle, *((there, here) for here, there in circle)]:
            before = next(it for it in pairs() if getattr(it, question) == one)
            changes.append((before, question, other))
    return changes
