r"""Regular expressions in time proportional to the text: patterns in files are hostile.

Python's `re` tries one way after another, and takes exponential time for a pattern such as ``(a+)+b``. Here all ways
are followed at once, as sets of states: K. Thompson, "Regular expression search algorithm", Communications of the ACM
11 (1968). The syntax is what RE2 and Python's `re` share; which characters a class such as ``[a-z]`` or ``\w`` holds
is asked of `re`, one character at a time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from anyback.errors import DataError

__all__ = ["MOST_STATES", "MOST_STEPS", "Pattern", "parsed"]

#: The most characters of a pattern, states of its machine, nested groups, and states that are visited for one array.
MOST_PATTERN = 5_000
MOST_STATES = 5_000
MOST_GROUPS = 100
MOST_STEPS = 1 << 23
#: Moves that are remembered.
MOST_KEPT = 1 << 14

_REPEAT = re.compile(r"\{(\d{1,4})(?:(,)(\d{1,4})?)?\}")
_GROUP = re.compile(r"\(\?(?:P?<[A-Za-z_]\w{0,63}>|([imsx]*):)|\(\?([ims]+)\)")
_WORD = re.compile(r"[A-Za-z0-9_]")
_HEX = re.compile(r"x([0-9A-Fa-f]{2})")
_ESCAPES = "dDsSwW"  # of classes
_PLAIN = {"a": "\a", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_EDGES = {"^": "start", "A": "start", "$": "end", "z": "end", "b": "edge", "B": "inside"}

# A node of the machine takes the states that follow it, and returns those to begin in.
_Node = Callable[[tuple[int, ...]], tuple[int, ...]]


@dataclass(frozen=True)
class Pattern:
    """A machine with states that each read one character.

    Parameters
    ----------
    text : str
        The pattern.
    tests : tuple of re.Pattern or None
        What the character must match that a state reads.
    conditions : tuple of str
        Empty for a state that reads; of one that is passed what must hold there: ``"always"``, ``"start"``, ``"end"``,
        ``"edge"`` (of a word) or ``"inside"``.
    following : tuple of tuple of int
        The states that come after each.
    first : tuple of int
        The states to begin in. State 0 is the end.
    """

    text: str
    tests: tuple[re.Pattern[str] | None, ...]
    conditions: tuple[str, ...]
    following: tuple[tuple[int, ...], ...]
    first: tuple[int, ...]

    def full_matches(self, values: Sequence[str]) -> list[bool]:
        """Return, for each string, whether all of it matches; `DataError` where that takes too long."""
        kept: dict[tuple[frozenset[int], str, str], frozenset[int]] = {}
        looks_ahead = not set(self.conditions) <= {"", "always", "start"}
        steps = 0

        def closed(states: Iterable[int], before: str, after: str) -> frozenset[int]:
            """Return the states that read, behind the conditions that hold between two characters."""
            nonlocal steps
            edge = bool(_WORD.match(before)) != bool(_WORD.match(after))
            holds = {"": False, "always": True, "start": not before, "end": not after, "edge": edge, "inside": not edge}
            seen, todo = set(), list(states)
            while todo:
                state = todo.pop()
                steps += 1
                if state in seen:
                    continue
                seen.add(state)
                if holds[self.conditions[state]]:
                    todo += self.following[state]
            if steps > MOST_STEPS:
                raise DataError(f"RegexFullMatch visits more than {MOST_STEPS} states; take fewer or shorter strings")
            return frozenset(state for state in seen if not self.conditions[state])

        def matches(value: str) -> bool:
            nonlocal steps
            here = closed(self.first, "", value[:1])
            for place, character in enumerate(value):
                after = value[place + 1 : place + 2] if looks_ahead else ""
                key = here, character, after
                if key not in kept:
                    if len(kept) > MOST_KEPT:
                        kept.clear()
                    steps += len(here)
                    tests = [(state, self.tests[state]) for state in here]
                    reached = [state for state, test in tests if test is not None and test.fullmatch(character)]
                    kept[key] = closed({n for state in reached for n in self.following[state]}, character, after)
                here = kept[key]
                if not here:
                    return False
            return 0 in here

        return [matches(value) for value in values]


def parsed(pattern: str) -> Pattern:
    """Return the machine of a pattern, or raise `DataError`."""
    if len(pattern) > MOST_PATTERN:
        raise DataError(f"RegexFullMatch has a pattern of {len(pattern)} characters; at most {MOST_PATTERN}")
    reader = _Reader(pattern)
    made = reader.alternatives(0)
    if reader.place < len(pattern):
        raise reader.wrong("a closing parenthesis without its opening one")
    first = made((0,))
    return Pattern(pattern, tuple(reader.tests), tuple(reader.conditions), tuple(reader.following), first)


class _Reader:
    """Reads a pattern from left to right and adds the states of its machine."""

    def __init__(self, pattern: str) -> None:
        self.pattern, self.place, self.flags = pattern, 0, ""
        self.compiled: dict[str, re.Pattern[str]] = {}
        self.tests: list[re.Pattern[str] | None] = [None]
        self.conditions: list[str] = [""]
        self.following: list[tuple[int, ...]] = [()]

    def wrong(self, why: str) -> DataError:
        return DataError(f"RegexFullMatch has {why} at character {self.place} of its pattern {self.pattern[:60]!r}")

    def peek(self) -> str:
        return self.pattern[self.place : self.place + 1]

    def state(self, test: re.Pattern[str] | None, condition: str, following: tuple[int, ...]) -> int:
        if len(self.tests) >= MOST_STATES:
            raise self.wrong(f"more than {MOST_STATES} states")
        self.tests.append(test)
        self.conditions.append(condition)
        self.following.append(following)
        return len(self.tests) - 1

    def alternatives(self, depth: int) -> _Node:
        choices = [self.sequence(depth)]
        while self.peek() == "|":
            self.place += 1
            choices.append(self.sequence(depth))
        if len(choices) == 1:
            return choices[0]
        return lambda after: self.joined(*[choice(after) for choice in choices])

    def sequence(self, depth: int) -> _Node:
        parts: list[_Node] = []
        while self.peek() not in ("", "|", ")"):
            parts.append(self.repeated(self.atom(depth)))

        def node(after: tuple[int, ...]) -> tuple[int, ...]:
            for part in reversed(parts):
                after = part(after)
            return after

        return node

    def repeated(self, atom: _Node) -> _Node:
        begin = self.peek()
        if begin in ("*", "+", "?") and begin:
            self.place += 1
            least, most = {"*": (0, None), "+": (1, None), "?": (0, 1)}[begin]
        elif found := _REPEAT.match(self.pattern, self.place):
            self.place = found.end()
            least = int(found[1])
            most = least if not found[2] else int(found[3]) if found[3] else None
            if max(least, most or 0) > 1000 or (most is not None and most < least):
                raise self.wrong("a number of repeats that is not from 0 to 1000, or falls")
        else:
            return atom
        if self.peek() == "?":  # as few as possible: the same strings match
            self.place += 1
        if self.peek() in ("*", "+", "?") and self.peek():
            raise self.wrong("a repeat of a repeat")
        return lambda after: self.copies(atom, least, most, after)

    def copies(self, atom: _Node, least: int, most: int | None, after: tuple[int, ...]) -> tuple[int, ...]:
        if most is None:
            turn = self.state(None, "always", ())  # to the atom again, or on
            again = atom((turn,))
            self.following[turn] = self.joined(again, after)
            last: tuple[int, ...] = (turn,)
        else:
            last = after
            for _ in range(most - least):
                last = self.joined(atom(last), after)
        for _ in range(least):
            last = self.joined(atom(last))
        return last

    def joined(self, *states: tuple[int, ...]) -> tuple[int, ...]:
        """Return one state that leads to the states of several sets: so no set grows, and no work comes without one."""
        return (self.state(None, "always", tuple(dict.fromkeys(state for some in states for state in some))),)

    def atom(self, depth: int) -> _Node:
        character = self.peek()
        if character == "(":
            return self.group(depth)
        if character == "[":
            return self.reading(self.bracket())
        self.place += 1
        if character == "\\":
            return self.escape()
        if character in ("*", "+", "?"):
            raise self.wrong("a repeat of nothing")
        if character == ".":
            return self.reading("." if "s" in self.flags else r"[^\n]")
        if character in ("^", "$"):
            if "m" in self.flags:
                raise self.wrong("(?m), which is not supported")
            return self.passing(_EDGES[character])
        return self.reading(re.escape(character))

    def group(self, depth: int) -> _Node:
        if depth >= MOST_GROUPS:
            raise self.wrong(f"more than {MOST_GROUPS} nested groups")
        flags = self.flags
        if self.pattern.startswith("(?", self.place):
            found = _GROUP.match(self.pattern, self.place)
            if found is None or "x" in (found[1] or ""):
                raise self.wrong("a kind of group that is not supported")
            self.place = found.end()
            self.flags += (found[1] or "") + (found[2] or "")
            if found[2]:  # for the rest of the group around it
                return lambda after: after
        else:
            self.place += 1
        inner = self.alternatives(depth + 1)
        if self.peek() != ")":
            raise self.wrong("a group that does not end")
        self.place += 1
        self.flags = flags
        return inner

    def escape(self) -> _Node:
        character = self.peek()
        self.place += 1
        if character in _ESCAPES and character:
            return self.reading(f"(?a:\\{character})")
        if character in _PLAIN:
            return self.reading(re.escape(_PLAIN[character]))
        if found := _HEX.match(self.pattern, self.place - 1):
            self.place = found.end()
            return self.reading(re.escape(chr(int(found[1], 16))))
        if character in ("A", "z", "b", "B"):
            return self.passing(_EDGES[character])
        if not character or character.isalnum():  # back-references and what RE2 knows alone
            raise self.wrong(f"an escape \\{character} that is not supported")
        return self.reading(re.escape(character))

    def bracket(self) -> str:
        start = "[^" if self.pattern.startswith("[^", self.place) else "["
        self.place += len(start)
        parts = [start]
        if self.peek() == "]":  # a first one stands for itself
            self.place += 1
            parts.append("\\]")
        while self.peek() not in ("", "]"):
            if self.pattern.startswith("[:", self.place):
                raise self.wrong("a named class, which is not supported")
            character = self.peek()
            size = 2 if character == "\\" else 1
            escaped = "\\" if character in "[&~|" else ""  # which `re` may one day read as operators
            parts.append(escaped + self.pattern[self.place : self.place + size])
            self.place += size
        if not self.peek():
            raise self.wrong("a class that does not end")
        self.place += 1
        text = f"(?a:{''.join(parts)}])"
        try:
            re.compile(text)
        except (re.error, OverflowError):
            raise self.wrong("a class that is not one") from None
        return text

    def reading(self, test: str) -> _Node:
        test = f"(?i:{test})" if "i" in self.flags else test
        if test not in self.compiled:
            self.compiled[test] = re.compile(test, re.DOTALL)
        return lambda after: (self.state(self.compiled[test], "", after),)

    def passing(self, condition: str) -> _Node:
        return lambda after: (self.state(None, condition, after),)
