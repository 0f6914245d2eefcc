"""The picture of a comparison: a panel for each kind of problem, in it a group of bars for each
length, a bar for each contender. Needs matplotlib."""

import io

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot  # after the choice of a backend that needs no display

from results import by_shape, names, shape_of

COLUMNS = 3
PANEL = 5.2, 3.1  # inches
OWN_COLOURS = "#0b6e4f", "#53b87f"
PEER_COLOURS = "#ee4c2c", "#7a6fb0", "#8aa4c8", "#b9b9b9"
BETTER, WORSE = "#0b6e4f", "#b00020"


def panel_of(row):
    """What the shapes of a panel have in common."""
    shape = shape_of(row)
    queries = "one query" if shape.is_decode else "causal" if shape.causal else "not causal"
    heads = f"{shape.n_head} heads"
    if shape.n_kv_head != shape.n_head:
        heads += f", {shape.n_kv_head} of keys"
    batch = f"batch {shape.batch}, " if shape.batch > 1 else ""
    return f"{row['suite']}: {batch}{heads}, D {shape.head_dim}, {queries}"


def length_of(shape):
    return str(shape.n_kv) if shape.n_q in (1, shape.n_kv) else f"{shape.n_q}x{shape.n_kv}"


def draw_ratio(axes, x, height, ratio, upright):
    """Upright where two of them stand beside each other."""
    colour = BETTER if ratio >= 1 else WORSE
    axes.annotate(f"{ratio:.2f}", (x, height), xytext=(0, 3), textcoords="offset points",
                  ha="center", color=colour, fontsize=8.5, fontweight="bold",
                  rotation=90 if upright else 0)


def draw_panel(axes, title, groups, colours):
    """colours: of all contenders, by name; only those of this panel take up room."""
    rows = [row for group in groups for row in group]
    present, own = {row["contender"] for row in rows}, names(rows, peer=False)
    colours = {name: colour for name, colour in colours.items() if name in present}
    width = 0.8 / len(colours)
    for position, group in enumerate(groups):
        shape, by_name = shape_of(group[0]), {row["contender"]: row for row in group}
        for number, (name, colour) in enumerate(colours.items()):
            row = by_name.get(name)
            if not row:
                continue
            x = position + (number - (len(colours) - 1) / 2) * width
            rate = shape.rate(row["seconds_min"])
            axes.bar(x, rate, width * 0.92, color=colour)
            if "ratio" in row:
                draw_ratio(axes, x, rate, row["ratio"], upright=len(own) > 1)
    axes.set_title(title, fontsize=9.5, loc="left")
    axes.set_xticks(range(len(groups)), [length_of(shape_of(group[0])) for group in groups])
    axes.set_ylabel(shape_of(groups[0][0]).rate_unit, fontsize=8.5)
    axes.tick_params(labelsize=8.5)
    axes.margins(y=0.2 if len(own) > 1 else 0.14)
    axes.grid(axis="y", color="#e0e0e0", linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def arrange(panels):
    """Rows of panels: a new one for each suite, and where the row is full."""
    rows, suite = [], None
    for title, groups in panels.items():
        if groups[0][0]["suite"] != suite or len(rows[-1]) == COLUMNS:
            rows.append([])
        suite = groups[0][0]["suite"]
        rows[-1].append((title, groups))
    return rows


def sort_key(group):
    shape = shape_of(group[0])
    return shape.n_head, -shape.n_kv_head, shape.causal, shape.head_dim, shape.batch


def draw(rows):
    """The PNG's bytes."""
    own, peers = names(rows, peer=False), names(rows, peer=True)
    colours = {name: OWN_COLOURS[i % len(OWN_COLOURS)] for i, name in enumerate(own)}
    colours |= {name: PEER_COLOURS[i % len(PEER_COLOURS)] for i, name in enumerate(peers)}
    panels, groups = {}, by_shape(rows)
    suites = list(dict.fromkeys(group[0]["suite"] for group in groups))
    for group in sorted(groups, key=lambda g: (suites.index(g[0]["suite"]), *sort_key(g))):
        panels.setdefault(panel_of(group[0]), []).append(group)
    layout = arrange(panels)
    columns = max(map(len, layout))
    figure, grid = pyplot.subplots(len(layout), columns, squeeze=False, layout="constrained",
                                   figsize=(columns * PANEL[0], len(layout) * PANEL[1] + 1))
    for line, panels_of_line in zip(grid, layout):
        for axes in line[len(panels_of_line):]:
            axes.set_axis_off()
        for axes, (title, groups_of_panel) in zip(line, panels_of_line):
            draw_panel(axes, title, groups_of_panel, colours)
    handles = [pyplot.Rectangle((0, 0), 1, 1, color=colour) for colour in colours.values()]
    figure.legend(handles, colours, loc="outside upper center", ncols=len(colours), frameon=False,
                  fontsize=11, title="float32 attention by length of the sequence, more is better; "
                  "the numbers: times the speed of the best other library", title_fontsize=10.5)
    made = io.BytesIO()
    figure.savefig(made, dpi=100, format="png")
    pyplot.close(figure)
    return made.getvalue()
