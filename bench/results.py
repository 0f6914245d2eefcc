"""What compare.py found, as rows: one a shape and contender, plain values as --json prints them.
Makes the rows, the ratios and the tables of them; knows no contender but by its name."""

import math
import statistics

from shapes import OPERATIONS

BUSY = 0.1  # cores that other programs may use without disturbing


def shape_of(row):
    """Rows of before there were other operations have none."""
    of = OPERATIONS[row.get("operation", "attention")]
    return of(*(int(row[key]) for key in of._fields))


def make_row(suite, shape, name, times, about):
    """times: by variant, the seconds (fastest, median) of each round; the variant with the fastest
    call counts. about: further keys."""
    variant = min(times, key=lambda one: min(times[one]))
    fastest, medians = zip(*times[variant])
    least, median = min(fastest), statistics.median(medians)
    return dict(shape._asdict(), operation=shape.operation, suite=suite, contender=name,
                variant=variant, seconds_min=least, seconds_median=median,
                rate=shape.rate(least), rate_unit=shape.rate_unit, rounds=len(fastest), **about)


def best_peer(rows, key):
    """The peer with the least seconds; None where there is none."""
    peers = [row for row in rows if row["peer"] and row["agrees"]]
    return min(peers, key=lambda row: row[key], default=None)


def add_ratios(rows):
    """To rows of one shape: how many times as fast as the best peer each contender is that isn't
    one, by the fastest call and by the median."""
    for row in rows:
        for key, name in (("seconds_min", "ratio"), ("seconds_median", "ratio_median")):
            best = best_peer(rows, key)
            if best and row["agrees"] and not row["peer"]:
                row[name] = best[key] / row[key]
                row["best_" + name.replace("ratio", "peer")] = best["contender"]


def by_shape(rows):
    """Lists of the rows of one suite and shape, in the order of their first rows."""
    made = {}
    for row in rows:
        made.setdefault((row["suite"], shape_of(row)), []).append(row)
    return list(made.values())


def names(rows, peer):
    """Contenders, in order."""
    return list(dict.fromkeys(row["contender"] for row in rows if row["peer"] == peer))


def geometric_mean(values):
    values = list(values)
    return math.exp(statistics.fmean(map(math.log, values))) if values else None


class Summary:
    """Of one suite and one contender that isn't a peer."""

    def __init__(self, rows):
        self.rows = [row for row in rows if "ratio" in row]
        self.mean = geometric_mean(row["ratio"] for row in self.rows)
        self.mean_median = geometric_mean(row["ratio_median"] for row in self.rows)
        self.least = min(self.rows, key=lambda row: row["ratio"], default=None)

    def __str__(self):
        if not self.rows:
            return "no peer to compare with"
        return (f"geometric mean {self.mean:.2f} (of medians {self.mean_median:.2f}), least "
                f"{self.least['ratio']:.2f} at {shape_of(self.least)}, {len(self.rows)} shapes")


def summaries(rows):
    """(suite, contender, Summary) for each suite and contender that isn't a peer."""
    for suite in dict.fromkeys(row["suite"] for row in rows):
        for name in names(rows, peer=False):
            mine = [row for row in rows if (row["suite"], row["contender"]) == (suite, name)]
            if mine:
                yield suite, name, Summary(mine)


def disturbance(rows):
    """A sentence about other programs while the contenders took turns."""
    known = [row["others"] for row in rows if row.get("others") is not None]
    if not known:
        return "Whether other programs ran meanwhile is not known."
    text = f"Meanwhile other programs kept {statistics.fmean(known):.2f} cores busy on average"
    busy = sum(found > BUSY for found in known)
    return text + (": these are not the figures of a quiet machine." if busy else ".")


# Text for a terminal: a line a shape, as soon as it is there.

SHAPE_WIDTH, WIDTH = 26, 14


def text_head(form, contenders, own):
    cells = [f"{form:<{SHAPE_WIDTH}}"]
    cells += [f"{name + ', ms':>{max(WIDTH, len(name) + 4)}}" for name in contenders]
    for name in own:
        cells += [f"{name:>{max(WIDTH, len(name))}}", f"{'ratio':>6}", f"{'median':>6}"]
    return "  ".join(cells)


def text_line(rows, contenders, own):
    """One shape's: the fastest call of every contender, then rate and ratios of our own."""
    shape, by_name = shape_of(rows[0]), {row["contender"]: row for row in rows}
    cells = [f"{str(shape):<{SHAPE_WIDTH}}"]
    for name in contenders:
        width, row = max(WIDTH, len(name) + 4), by_name.get(name)
        mark = "" if not row or row["agrees"] else "!"
        cells.append(f"{mark + format(1e3 * row['seconds_min'], '.4f') if row else '-':>{width}}")
    for name in own:
        width, row = max(WIDTH, len(name)), by_name.get(name)
        rate = f"{shape.rate(row['seconds_min']):.1f} {shape.rate_unit}" if row else "-"
        ratios = [f"{row[key]:6.2f}" if row and key in row else f"{'-':>6}"
                  for key in ("ratio", "ratio_median")]
        cells += [f"{rate:>{width}}", *ratios]
    return "  ".join(cells)


# Markdown, for docs/benchmarks.md.

def markdown_row(cells):
    return "| " + " | ".join(cells) + " |"


def table_line(rows, contenders, own):
    shape, by_name = shape_of(rows[0]), {row["contender"]: row for row in rows}
    best = best_peer(rows, "seconds_min")
    cells = [str(shape)]
    for name in contenders:
        row = by_name.get(name)
        rate = f"{shape.rate(row['seconds_min']):.1f}" if row else "-"
        cells.append(f"**{rate}**" if row and row is best else rate)
    for name in own:
        row = by_name.get(name, {})
        cells += [f"{row[key]:.2f}" if key in row else "-" for key in ("ratio", "ratio_median")]
    return markdown_row(cells + memory_cells(shape, [by_name.get(name, {}) for name in contenders]))


def memory_cells(shape, rows):
    """MB beside the tensors, of shapes of which that is counted."""
    if not shape.counts_memory:
        return []
    return [f"{row['memory_bytes'] * 1e-6:.1f}" if row.get("memory_bytes") is not None else "-"
            for row in rows]


def suite_table(suite, rows):
    """A table of one suite, with what sums it up."""
    own = names(rows, peer=False)
    contenders = own + names(rows, peer=True)
    shape = shape_of(rows[0])
    head = [shape.form, *(f"{name}, {shape.rate_unit}" for name in contenders)]
    for name in own:
        of = "" if len(own) == 1 else f" of {name}"
        head += ["ratio" + of, "of medians"]
    if shape.counts_memory:
        head += [f"{name}, MB" for name in contenders]
    lines = [f"### {suite}", "", markdown_row(head),
             markdown_row(["---"] + ["---:"] * (len(head) - 1))]
    lines += [table_line(group, contenders, own) for group in by_shape(rows)]
    lines.append("")
    lines += [f"{name}: {summary}." for _, name, summary in summaries(rows)]
    return lines


def clock_of(row):
    return ", processor time" if row.get("clock") == "cpu" else ""


def markdown(rows):
    """All tables, with who was compared on what."""
    machines = dict.fromkeys(f"{row['cpu']}, {row['threads']} threads{clock_of(row)}"
                             for row in rows)
    who = dict.fromkeys((row["contender"], row["description"]) for row in rows)
    lines = [f"Measured on: {'; '.join(machines)}. {disturbance(rows)}", ""]
    lines += [f"- {name}: {description}" for name, description in who]
    for suite in dict.fromkeys(row["suite"] for row in rows):
        lines += ["", *suite_table(suite, [row for row in rows if row["suite"] == suite])]
    return "\n".join(lines) + "\n"


# Where a document has tables of one kind: its first and its last line, and the suites.
SECTIONS = {
    "attention": ("<!-- compare.py writes from here -->\n", "<!-- to here -->\n"),
    "training": ("<!-- compare.py writes training from here -->\n", "<!-- training to here -->\n"),
}


def section_of(row):
    return "attention" if shape_of(row).operation == "attention" else "training"


def replace_between_marks(text, rows):
    """The document with the tables of these rows between the marks of their section, others as they
    were; the tables alone where it has no such marks."""
    for name, (begin_mark, end_mark) in SECTIONS.items():
        mine = [row for row in rows if section_of(row) == name]
        begin, end = text.find(begin_mark), text.find(end_mark)
        if not mine:
            continue
        if begin < 0 or end < begin:
            return markdown(rows)
        text = text[:begin] + begin_mark + "\n" + markdown(mine) + "\n" + text[end:]
    return text
