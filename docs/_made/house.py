"""The drawing of the house on the page of the design: the package's rooms, and which of them may import which."""

from __future__ import annotations

import html
import pkgutil
from pathlib import Path

import anyback

#: The floors, from the street down: what they are, and the rooms on each. Imports run down only.
FLOORS: dict[str, list[str]] = {
    "for people": ["cli", "plots", "bench", "sklearn"],
    "evidence": ["agreement", "bounds", "evaluation"],
    "many rows": ["streams", "executors", "inference"],
    "files and objects": ["sources", "models", "onnx"],
    "a network": ["lower", "layers", "network", "tasks"],
    "what is computed": ["functional", "activations", "ops"],
    "where": ["backends", "plan"],
    "data": ["weights", "datasets"],
    "leaves": ["numbers", "errors"],
}

WIDTH, ROOM, GAP, LABEL, HIGH = 860, 132, 12, 190, 46


def rooms() -> set[str]:
    """Return the rooms that there are."""
    return {m.name for m in pkgutil.iter_modules(anyback.__path__) if not m.name.startswith("_")}


def drawing() -> str:
    """Return the house as SVG, in the page's own colours; an error names rooms that have no floor."""
    there = rooms()
    if homeless := there - {room for floor in FLOORS.values() for room in floor}:
        raise RuntimeError(f"no floor for {', '.join(sorted(homeless))}: add it to FLOORS in docs/_made/house.py")
    floors = {name: [room for room in floor if room in there] for name, floor in FLOORS.items()}
    floors = {name: floor for name, floor in floors.items() if floor}
    top, step = 84, HIGH + 14
    height = top + step * len(floors) + 16
    parts = [
        f'<svg class="house" viewBox="0 0 {WIDTH} {height}" role="img" xmlns="http://www.w3.org/2000/svg">',
        "<title>The rooms of the package, floor by floor: each may import from those below it</title>",
        f'<path class="roof" d="M 8 {top - 14} L {WIDTH / 2} 10 L {WIDTH - 8} {top - 14} Z"/>',
        f'<text class="name" x="{WIDTH / 2}" y="{top - 32}">import anyback as ab</text>',
    ]
    for number, (name, floor) in enumerate(floors.items()):
        y = top + number * step
        parts.append(f'<rect class="floor" x="8" y="{y - 7}" width="{WIDTH - 16}" height="{step}"/>')
        parts.append(f'<text class="label" x="24" y="{y + HIGH / 2 + 5}">{html.escape(name)}</text>')
        for place, room in enumerate(floor):
            x = LABEL + place * (ROOM + GAP)
            parts.append(f'<a href="api/anyback.{room}.html">')
            parts.append(f'<rect class="room" x="{x}" y="{y}" width="{ROOM}" height="{HIGH}" rx="5"/>')
            parts.append(f'<text class="name" x="{x + ROOM / 2}" y="{y + HIGH / 2 + 5}">{room}</text></a>')
    x, first, last = WIDTH - 62, top + 12, top + step * len(floors) - 24
    parts.append(f'<path class="arrow" d="M {x} {first} V {last} m -7 -10 l 7 10 l 7 -10"/>')
    parts.append(f'<text class="label" transform="translate({x + 20} {(first + last) / 2}) rotate(90)" ')
    parts.append('text-anchor="middle">imports run down</text></svg>')
    return "\n".join(parts)


def make(docs: Path) -> None:
    """Write the drawing into ``made/``, which the page of the design includes."""
    folder = docs / "made"
    folder.mkdir(exist_ok=True)
    (folder / "house.svg").write_text(drawing() + "\n", encoding="utf-8")
