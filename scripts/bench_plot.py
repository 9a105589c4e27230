# SPDX-License-Identifier: MIT
"""Draw what bench.py counted: each operation's cost as a multiple of a bind mount's."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl

SHOWN = ("overlay", "unfiltered", "hide_secrets", "guard", "passthrough", "bindfs")
"""From the lightest to the darkest bar: what people have today is grey."""
COLOURS = ("#b0b0b0", "#9ecae1", "#4292c6", "#08519c", "#909090", "#606060")


def draw(columns: dict[str, dict[str, int]], picture: Path) -> None:
    """Write the picture as SVG; the same bytes for the same counts."""
    # No display, text that stays text, and names of parts that do not change
    mpl.use("svg")
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "fusebpf", "font.size": 8})
    from matplotlib import pyplot as plt

    base = columns["bind"]
    shown = [name for name in SHOWN if name in columns]
    figure, axes = plt.subplots(figsize=(8, 0.36 * len(base)), layout="constrained")
    height = 0.8 / len(shown)
    for place, name in enumerate(shown):
        ratios = [columns[name][operation] / count for operation, count in base.items()]
        rows = [row + height * (place - (len(shown) - 1) / 2) for row in range(len(base))]
        axes.barh(rows, ratios, height, label=name, color=COLOURS[SHOWN.index(name)])
    axes.set_xscale("log", base=2)
    axes.set_xticks([0.5, 1, 2, 4, 8, 16], ["0.5", "1", "2", "4", "8", "16"])
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_yticks(range(len(base)), list(base))
    axes.invert_yaxis()
    axes.set_xlabel("instructions, as a multiple of a bind mount's")
    axes.margins(y=0.01)
    figure.legend(loc="outside upper center", ncols=len(shown), frameon=False)
    figure.savefig(picture, metadata={"Date": None})
    plt.close(figure)
    # Its licence is the tree's and comes first; nothing before the element is needed
    text = picture.read_text()
    lines = ["<!-- SPDX-License-Identifier: MIT -->", *text[text.index("<svg ") :].splitlines()]
    picture.write_text("".join(line.rstrip() + "\n" for line in lines))
