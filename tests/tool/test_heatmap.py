"""clattn heatmap draws what the weights are, in PNG and SVG, or says in one line why it can't.

test_heatmap.py TOOL MINILM: the folder tests/data/minilm."""

import base64
import json
import re
import struct
import subprocess
import xml.etree.ElementTree as ElementTree

import arrays
import tool_case
from png_image import Image, lightness

SVG = "{http://www.w3.org/2000/svg}"
HREF = "{http://www.w3.org/1999/xlink}href"
RED, PINK, GREY = (0xE8, 0x26, 0x1C), (0xFF, 0x8A, 0xD0), (0xB4, 0xB4, 0xB4)
NAN, INF = float("nan"), float("inf")
MOST_SIDE, MOST_PIXELS = 32767, 100e6


class HeatmapCase(tool_case.ToolCase):
    def draw(self, name, *words, weights="w.npy"):
        said = self.run_good("heatmap", "--weights", weights, "--out", name, *words)
        self.assertEqual(said, "")
        return (self.folder / name).read_bytes()

    def draw_svg(self, *words):
        return ElementTree.fromstring(self.draw("h.svg", *words))

    def refuse(self, status, argument, *words, out="h.png"):
        command = ("heatmap", "--weights", "w.npy", "--out", out, *words)
        return self.run_bad(status, argument, *command)

    def texts(self, svg):
        return [text.text for text in svg.iter(SVG + "text")]

    def panels(self, svg):
        """The images of the panels, each with its place; the legend's bar is the last image."""
        images = [
            (image, Image(base64.b64decode(image.get(HREF).partition(",")[2], validate=True)))
            for image in svg.iter(SVG + "image")
        ]
        return images[:-1]

    def write_tokens(self, name, tokens):
        (self.folder / name).write_text(json.dumps(tokens), encoding="utf-8")


class Pictures(HeatmapCase):
    def test_png(self):
        self.write("w.npy", (2, 3, 4))
        image = Image(self.draw("h.png"))
        self.assertGreater(image.width, 2 * 4 * 20)
        self.assertGreater(image.height, 3 * 20)
        self.assertEqual(image[0, 0], (255, 255, 255))
        self.assertEqual(set(self.files()), {"w.npy", "h.png"})

    def test_suffix_in_capitals(self):
        self.write("w.npy", (3, 4))
        self.assertEqual(self.draw("H.PNG"), self.draw("h.png"))

    def test_the_same_bytes_again(self):
        self.write("w.npy", (2, 3, 4))
        for name in ("h.png", "h.svg"):
            self.assertEqual(self.draw(name), self.draw(name))

    def test_an_old_picture_is_replaced(self):
        self.write("w.npy", (3, 4))
        (self.folder / "h.png").write_bytes(b"old")
        Image(self.draw("h.png"))

    def test_png_has_the_cells_of_svg(self):
        self.write("w.npy", (1, 3, 4))
        svg = self.draw_svg()
        ((place, cells),) = self.panels(svg)
        image = Image(self.draw("h.png"))
        left, top = (int(float(place.get(name))) for name in ("x", "y"))
        self.assertEqual(
            (image.width, image.height), (int(svg.get("width")), int(svg.get("height")))
        )
        for y in range(cells.height):
            for x in range(cells.width):
                self.assertEqual(image[left + x, top + y], cells[x, y])

    def test_order_of_cells(self):
        self.write("w.npy", (2, 3), [0, 1, 2, 3, 4, 5])
        ((_, cells),) = self.panels(self.draw_svg())
        width, height = cells.width // 3, cells.height // 2
        middles = [
            cells[width * x + width // 2, height * y + height // 2]
            for y in (0, 1)
            for x in range(3)
        ]
        shades = [lightness(colour) for colour in middles]
        self.assertEqual(len(set(middles)), 6)
        self.assertEqual(shades, sorted(shades, reverse=True))  # larger is darker
        self.assertEqual(cells[0, 0], middles[0])
        self.assertEqual(cells[cells.width - 1, cells.height - 1], middles[-1])

    def test_heads_share_one_scale(self):
        self.write("w.npy", (2, 1, 2), [0, 0.5, 0.5, 1])
        (_, first), (_, second) = self.panels(self.draw_svg())
        self.assertEqual(first[first.width - 1, 0], second[0, 0])
        self.assertNotEqual(first[first.width - 1, 0], second[second.width - 1, 0])

    def test_scale_is_even_and_ends_at_the_ends(self):
        """The steps of OKLab's lightness along the bar differ little from one another."""
        self.write("w.npy", (1, 2), [0, 1])
        bar = [
            Image(base64.b64decode(image.get(HREF).partition(",")[2]))
            for image in self.draw_svg().iter(SVG + "image")
        ][-1]
        shades = [lightness(bar[0, y]) for y in range(0, bar.height, 4)]
        steps = [after - before for before, after in zip(shades, shades[1:])]
        self.assertGreater(min(steps), 0)
        self.assertLess(max(steps), 2.5 * min(steps))
        ((_, cells),) = self.panels(self.draw_svg())
        self.assertEqual(bar[0, bar.height - 1], cells[0, 0])
        self.assertEqual(bar[0, 0], cells[cells.width - 1, 0])


class Panels(HeatmapCase):
    def titles(self, *words):
        svg = self.draw_svg(*words)
        found = [text for text in self.texts(svg) if "head" in text]
        if found:
            self.assertEqual(len(found), len(self.panels(svg)))
        return found

    def test_every_head(self):
        self.write("w.npy", (12, 3, 4))
        self.assertEqual(self.titles(), [f"head {head}" for head in range(12)])

    def test_one_head(self):
        values = self.write("w.npy", (3, 2, 2), [i / 10 for i in range(12)])
        self.assertEqual(self.titles("--head", 2), ["head 2"])
        self.write("only.npy", (1, 2, 2), values[8:])
        chosen = self.panels(self.draw_svg("--head", 2))[0][1]
        self.draw("h.svg", weights="only.npy")
        alone = self.panels(ElementTree.parse(self.folder / "h.svg").getroot())[0][1]
        self.assertEqual(chosen.rows, alone.rows)

    def test_two_dimensions_have_no_title(self):
        self.write("w.npy", (3, 4))
        self.assertEqual(self.titles(), [])
        self.assertEqual(self.titles("--head", 0, "--batch", 0), [])

    def test_batch(self):
        self.write("w.npy", (2, 1, 2, 2), [0, 0, 0, 1, 1, 0, 0, 0])
        self.assertEqual(self.titles("--batch", 1), ["batch 1, head 0"])
        ((_, cells),) = self.panels(self.draw_svg("--batch", 1))
        self.assertLess(lightness(cells[0, 0]), lightness(cells[cells.width - 1, 0]))

    def test_batch_of_one_needs_no_choice(self):
        self.write("w.npy", (1, 2, 2, 2))
        self.assertEqual(self.titles(), ["head 0", "head 1"])

    def test_panels_do_not_overlap(self):
        for heads, rows, columns in ((2, 3, 3), (7, 1, 300), (5, 300, 1), (64, 2, 2)):
            self.write("w.npy", (heads, rows, columns))
            svg = self.draw_svg()
            places = [
                [float(image.get(name)) for name in ("x", "y", "width", "height")]
                for image in svg.iter(SVG + "image")
            ]
            self.assertEqual(len(places), heads + 1)
            for i, (x, y, width, height) in enumerate(places):
                self.assertGreater(x, 0)
                self.assertLess(x + width, float(svg.get("width")))
                self.assertLess(y + height, float(svg.get("height")))
                for u, v, _, _ in places[:i]:
                    self.assertFalse(x <= u < x + width and y <= v < y + height)


class Labels(HeatmapCase):
    def labels(self, *words):
        """The texts of the picture that are not its own."""
        own = re.compile(r"query|key|weight|head \d+|-?[\d.]+(e-\d+)?")
        return [text for text in self.texts(self.draw_svg(*words)) if not own.fullmatch(text)]

    def test_real_data(self):
        case = f"{tool_case.arguments[0]}/short_layer5/case.json"
        with open(case, encoding="utf-8") as file:
            tokens = json.load(file)["tokens"]
        weights = f"{tool_case.arguments[0]}/short_layer5/expected_weights.npy"
        svg = ElementTree.fromstring(
            self.draw("h.svg", "--tokens", case, "--head", 11, weights=weights)
        )
        self.assertEqual([t for t in self.texts(svg) if t in tokens], tokens + tokens)
        self.assertIn("head 11", self.texts(svg))
        self.assertLess(len(self.draw("h.png", "--tokens", case, weights=weights)), 1 << 20)

    def test_both_axes(self):
        self.write("w.npy", (2, 3))
        self.write_tokens("rows.json", ["red", "green"])
        self.write_tokens("columns.json", {"tokens": ["one", "two", "three"], "text": "more"})
        both = ("--row-tokens", "rows.json", "--column-tokens", "columns.json")
        self.assertEqual(self.labels(*both), ["red", "green", "one", "two", "three"])
        self.assertEqual(self.labels(*both[:2]), ["red", "green"])
        self.assertEqual(self.labels(*both[2:]), ["one", "two", "three"])

    def test_numbers_without_tokens(self):
        self.write("w.npy", (2, 3), [0.5] * 6)
        svg = self.texts(self.draw_svg())
        self.assertEqual(svg[:7], ["0", "1", "query", "0", "1", "2", "key"])

    def test_odd_tokens(self):
        shown = {
            "<b>&\"'": "<b>&\"'",
            "naïve 日本語 😀": "naïve 日本語 😀",
            "a\tb\nc": "a\\tb\\nc",
            "\x1b[31m": "\\x1b[31m",
            "\x7f\x85": "\\x7f\\x85",
            "\u202edetour\u200b": "\\u202edetour\\u200b",
            "\ufffe": "\ufffd",
            "": '""',
            "  ": "␣␣",
            "x" * 24: "x" * 24,
            "x" * 25: "x" * 23 + "…",
            "ü" * 100: "ü" * 23 + "…",
            "\n" * 13: "\\n" * 11 + "…",
        }
        self.write("w.npy", (len(shown), 1))
        self.write_tokens("t.json", list(shown))
        self.assertEqual(self.labels("--row-tokens", "t.json"), list(shown.values()))
        Image(self.draw("h.png", "--row-tokens", "t.json"))

    def test_bytes_that_are_not_utf8(self):
        self.write("w.npy", (6, 1))
        broken = [b"\xff", b"a\xc3", b"\xe2\x82", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80"]
        text = b",".join(b'"' + token + b'"' for token in broken)
        (self.folder / "t.json").write_bytes(b"[" + text + b"]")
        for label, token in zip(self.labels("--row-tokens", "t.json"), broken, strict=True):
            self.assertEqual(label, "a" * (token[:1] == b"a") + "\ufffd" * len(token.strip(b"a")))

    def test_labels_of_many_tokens_have_room(self):
        """170 tokens: as far apart as their font is high, and within the picture."""
        count = 170
        self.write("w.npy", (count, count), [i % 7 / 7 for i in range(count * count)])
        self.write_tokens("t.json", [f"token{i}" for i in range(count)])
        svg = self.draw_svg("--tokens", "t.json")
        places = [
            (
                *map(float, re.findall(r"[\d.]+", text.get("transform"))[:2]),
                float(text.get("font-size")),
            )
            for text in svg.iter(SVG + "text")
            if text.text.startswith("token")
        ]
        self.assertEqual(len(places), 2 * count)
        rows, columns = places[:count], places[count:]
        for before, after in zip(rows, rows[1:]):
            self.assertGreaterEqual(after[1] - before[1], 1.1 * after[2])
        for before, after in zip(columns, columns[1:]):
            self.assertGreaterEqual(after[0] - before[0], 1.1 * after[2])
        self.assertGreaterEqual(min(place[2] for place in places), 9)

    def test_too_many_for_labels(self):
        count = 3000
        self.write("w.npy", (1, count), [0.5] * count)
        self.write_tokens("t.json", [f"token{i}" for i in range(count)])
        texts = self.texts(self.draw_svg("--column-tokens", "t.json"))
        self.assertFalse([text for text in texts if text.startswith("token")])
        self.assertIn("too many tokens for labels in one picture", texts)


class Numbers(HeatmapCase):
    def test_not_finite(self):
        self.write("w.npy", (1, 5), [NAN, INF, -INF, 0.25, NAN])
        svg = self.draw_svg()
        ((_, cells),) = self.panels(svg)
        seen = [cells[cells.width // 5 * i, 0] for i in range(5)]
        self.assertEqual(seen[:3] + seen[4:], [RED, PINK, GREY, RED])
        self.assertNotIn(seen[3], (RED, PINK, GREY))
        for text in ("NaN (2)", "inf (1)", "-inf (1)"):
            self.assertIn(text, self.texts(svg))
        image = Image(self.draw("h.png"))
        for colour in (RED, PINK, GREY):
            self.assertIn(bytes(colour), image.colours())

    def test_finite_weights_say_nothing_of_it(self):
        self.write("w.npy", (1, 2), [0, 1])
        texts = self.texts(self.draw_svg())
        self.assertFalse([text for text in texts if "NaN" in text or "inf" in text])
        self.assertFalse({bytes(RED), bytes(PINK)} & Image(self.draw("h.png")).colours())

    def test_ranges(self):
        biggest, smallest = 3.4028235e38, 1e-45
        for values in (
            [0, 0],
            [NAN, NAN],
            [INF, -INF],
            [-3, -5],
            [biggest, -biggest],
            [smallest, 0],
            [biggest, biggest],
        ):
            with self.subTest(values=values):
                self.write("w.npy", (1, 2), values)
                Image(self.draw("h.png"))
                legend = [t for t in self.texts(self.draw_svg()) if re.fullmatch(r"[-+.\de]+", t)]
                self.assertGreater(len(legend), 4)

    def test_numbers_of_the_legend(self):
        self.write("w.npy", (1, 2), [0.1, 0.83])
        texts = self.texts(self.draw_svg())
        self.assertEqual(texts[-5:], ["0", "0.2", "0.4", "0.6", "0.8"])

    def test_float16(self):
        self.write("w.npy", (2, 2), [0, 0.25, 0.5, 1], descr="<f2")
        half = self.draw("h.png")
        self.write("w.npy", (2, 2), [0, 0.25, 0.5, 1])
        self.assertEqual(self.draw("h.png"), half)


class Sizes(HeatmapCase):
    def test_huge_arrays_shrink(self):
        """A block of weights becomes a cell with the largest of them; none is lost."""
        n = 4096
        row = bytes(4 * n)
        spot = struct.pack("<f", 1)
        with open(self.folder / "w.npy", "wb") as file:
            file.write(arrays.header("<f4", (n, n)))
            for i in range(n):
                file.write(row if i != 2501 else row[: 4 * 1001] + spot + row[4 * 1002 :])
        svg = self.draw_svg()
        self.assertIn("each cell: the largest of 2 x 2 weights", self.texts(svg))
        ((_, cells),) = self.panels(svg)
        self.assertEqual((cells.width, cells.height), (n // 2, n // 2))
        empty = cells[0, 0]
        self.assertLess(lightness(cells[500, 1250]), 0.3)
        self.assertEqual(cells[500, 1249], empty)
        self.assertEqual(cells[499, 1250], empty)
        data = self.draw("h.png")
        self.assertEqual(data[:8], b"\x89PNG\r\n\x1a\n")
        self.assertLess(max(struct.unpack(">II", data[16:24])), MOST_SIDE)

    def test_nan_survives_shrinking(self):
        n = 5000
        self.write("w.npy", (1, n), [NAN if i == 777 else 0.5 for i in range(n)])
        self.assertIn(bytes(RED), Image(self.draw("h.png")).colours())

    def test_extents(self):
        for shape in ((1, 1), (1, 1, 1, 1), (1, 100000), (100000, 1), (3, 1, 2000), (300, 1, 1)):
            with self.subTest(shape=shape):
                self.write("w.npy", shape)
                svg = self.draw_svg()
                width, height = int(svg.get("width")), int(svg.get("height"))
                self.assertLess(max(width, height), MOST_SIDE)
                self.assertLess(width * height, MOST_PIXELS)
                for image, _ in self.panels(svg):
                    self.assertGreaterEqual(float(image.get("width")), 48)
                    self.assertGreaterEqual(float(image.get("height")), 48)

    def test_too_many_heads(self):
        self.write("w.npy", (40000, 1, 1), [0.5] * 40000)
        self.refuse(1, "--head")
        Image(self.draw("h.png", "--head", 39999))


class Errors(HeatmapCase):
    def setUp(self):
        super().setUp()
        self.write("w.npy", (2, 3, 4))

    def test_usage(self):
        self.run_bad(2, "--weights", "heatmap", "--out", "h.png")
        self.run_bad(2, "--out", "heatmap", "--weights", "w.npy")
        for name in ("h.jpg", "h", ".png", "png", "h.png.gz"):
            self.assertIn(name, self.refuse(2, "--out", out=name))
        self.refuse(2, "--tokens", "--tokens", "t", "--row-tokens", "t")
        self.refuse(2, "--tokens", "--tokens", "t", "--column-tokens", "t")
        self.refuse(2, "--head", "--head", "first")

    def test_out_of_range(self):
        for value in (-1, 2, 1 << 40):
            self.refuse(2, "--head", "--head", value)
            self.refuse(2, "--batch", "--batch", value)
        self.refuse(2, "--batch", "--batch", 1)
        self.write("w.npy", (3, 2, 3, 4))
        self.refuse(2, "--batch")

    def test_weights(self):
        self.run_bad(1, "--weights", "heatmap", "--weights", "missing.npy", "--out", "h.png")
        for shape in ((), (3,), (1, 1, 1, 1, 1), (0, 3, 4), (2, 0, 4), (2, 3, 0)):
            self.write("w.npy", shape)
            self.refuse(1, "--weights")
        (self.folder / "w.npy").write_bytes(b"nonsense")
        self.refuse(1, "--weights")

    def test_count_of_tokens(self):
        self.write_tokens("3.json", ["a", "b", "c"])
        self.write_tokens("4.json", ["a", "b", "c", "d"])
        self.assertIn("3 tokens", self.refuse(1, "--tokens", "--tokens", "3.json"))
        self.assertIn("3 queries", self.refuse(1, "--tokens", "--tokens", "4.json"))
        self.refuse(1, "--row-tokens", "--row-tokens", "4.json")
        self.refuse(1, "--column-tokens", "--column-tokens", "3.json")
        self.draw("h.png", "--row-tokens", "3.json", "--column-tokens", "4.json")

    def test_files_of_tokens(self):
        self.refuse(1, "--tokens", "--tokens", "missing.json")
        self.refuse(1, "--tokens", "--tokens", ".")
        for text in (
            "",
            "[",
            '["a", "b", "c"] more',
            '["a", "b", 3]',
            '["a", "b", null]',
            '{"token": ["a"]}',
            '{"tokens": "abc"}',
            '"abc"',
            '["a", "b", "\\ud800"]',
            '["a", "b", "c"]\0',
            "[" * 100000,
        ):
            with self.subTest(text=text[:20]):
                (self.folder / "t.json").write_text(text, encoding="utf-8")
                line = self.refuse(1, "--row-tokens", "--row-tokens", "t.json")
                self.assertIn("t.json", line)

    def test_unwritable(self):
        (self.folder / "folder.png").mkdir()
        self.refuse(1, "--out", out="folder.png")
        self.refuse(1, "--out", out="missing/h.png")
        self.refuse(1, "--out", out="w.npy/h.svg")

    def test_an_old_picture_stays_on_failure(self):
        (self.folder / "h.png").write_bytes(b"old")
        self.refuse(1, "--tokens", "--tokens", "missing.json")

    def test_disk_is_full(self):
        """A limit on the size of files stands for the disk."""
        limited = 'ulimit -f 1; trap "" XFSZ; exec "$0" heatmap --weights w.npy --out "$1"'
        before = self.files()
        for name in ("h.png", "h.svg"):
            done = subprocess.run(
                ["sh", "-c", limited, tool_case.tool, name],
                cwd=self.folder,
                capture_output=True,
                text=True,
                check=False,
            )
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertRegex(done.stderr, r"^clattn: --out: [^\n]+\n$")
            self.assertEqual(self.files(), before)


if __name__ == "__main__":
    tool_case.main()
