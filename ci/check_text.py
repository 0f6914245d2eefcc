#!/usr/bin/env python3
"""Checks every text file that git tracks against .editorconfig: encoding, ends of lines, blanks at
the end of lines, tabs, line length. Links between pages have to lead to a file, and docs/README.md
has to have one to every page of its folder.

check_text.py checks this repository, check_text.py --self-test checks the checker.
"""

import pathlib
import posixpath
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


def pattern(glob):
    """The regular expression of a section's name, for paths below the root: *, ** and {a,b}."""
    parts = {"**": ".*", "*": "[^/]*", "{": "(?:", ",": "|", "}": ")"}
    text = "".join(parts.get(p, re.escape(p)) for p in re.split(r"(\*\*|[*{},])", glob))
    return re.compile(text if "/" in glob else "(?:.*/)?" + text)


def read_rules(text):
    """The sections in their order: (pattern, {property: value})."""
    sections = []
    for line in text.splitlines():
        line = line.strip()
        if line.startswith("[") and line.endswith("]"):
            sections.append((pattern(line[1:-1]), {}))
        elif sections and "=" in line and not line.startswith(("#", ";")):
            name, value = line.split("=", 1)
            sections[-1][1][name.strip()] = value.strip()
    return sections


def rules_for(sections, name):
    rules = {}
    for expression, values in sections:
        if expression.fullmatch(name):
            rules.update(values)
    return rules


def check_line(line, rules):
    """What is wrong with a line, without its newline."""
    limit = rules.get("max_line_length", "off")
    if rules.get("end_of_line") == "lf" and line.endswith("\r"):
        yield "ends with CR LF"
    elif rules.get("trim_trailing_whitespace") == "true" and line != line.rstrip():
        yield "blanks at its end"
    if rules.get("indent_style") == "space" and "\t" in line[: len(line) - len(line.lstrip())]:
        yield "is indented with tabs"
    if limit != "off" and len(line) > int(limit):
        yield f"has {len(line)} columns, at most {limit}"


def check(name, data, rules):
    """Complaints about one file; those with a zero byte are no text."""
    if b"\0" in data or not data:
        return
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        yield f"{name}: is not UTF-8"
        return
    if rules.get("insert_final_newline") == "true" and not text.endswith("\n"):
        yield f"{name}: no newline at its end"
    for number, line in enumerate(text.split("\n"), 1):
        for complaint in check_line(line, rules):
            yield f"{name}:{number}: {complaint}"


LINK = re.compile(r"\]\(([^)#\s]+)[^)\s]*\)")


def check_links(pages, names):
    """Complaints about {name: text} of Markdown pages, beside the names of all files."""
    for name, text in pages.items():
        folder = pathlib.PurePosixPath(name).parent
        targets = [posixpath.normpath(folder / target) for target in LINK.findall(text)
                   if "://" not in target]
        for target in targets:
            if target not in names and not any(n.startswith(target + "/") for n in names):
                yield f"{name}: a link to {target}, which isn't there"
        if folder.name == "docs" and name.endswith("/README.md"):
            for page in pages:
                if page.startswith(f"{folder}/") and page not in (name, *targets):
                    yield f"{name}: has no link to {page}"


def tracked():
    out = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True)
    names = out.stdout.decode("utf-8").split("\0")
    return [name for name in names if name and (ROOT / name).is_file()]


SELF_TEST_RULES = """
root = true
[*]
end_of_line = lf
insert_final_newline = true
trim_trailing_whitespace = true
indent_style = space
max_line_length = 10
[*.{md,txt}]
max_line_length = off
[deep/**]
max_line_length = off
"""
# Name, bytes, and how many complaints there have to be.
SELF_TEST = [
    ("a.c", b"0123456789\n    x\n", 0),
    ("a.c", b"", 0),
    ("a.c", b"\0 \t", 0),
    ("a.c", "äöüäöüäöüä\n".encode("utf-8"), 0),
    ("a.c", b"x", 1),
    ("a.c", b"x \ny\t\n", 2),
    ("a.c", b"x\r\n", 1),
    ("b/a.c", b"\tx\n", 1),
    ("b/a.c", b"01234567890\n", 1),
    ("b/a.c", b"\xff\n", 1),
    ("b/a.md", b"01234567890\n", 0),
    ("a.txt", b"01234567890\n", 0),
    ("deep/er/a.c", b"01234567890 \n", 1),
]


# Pages, all files' names, and how many complaints there have to be.
SELF_TEST_LINKS = [
    ({"README.md": "[a](docs/a.md#x) [b](https://x/y) [c](docs)"}, ["docs/a.md"], 0),
    ({"README.md": "[a](docs/b.md)"}, ["docs/a.md"], 1),
    ({"docs/README.md": "[a](a.md) [b](../b.h)", "docs/a.md": ""}, ["docs/a.md", "b.h"], 0),
    ({"docs/README.md": "a.md", "docs/a.md": ""}, ["docs/a.md"], 1),
]


def self_test():
    sections = read_rules(SELF_TEST_RULES)
    wrong = 0
    for name, data, expected in SELF_TEST:
        found = list(check(name, data, rules_for(sections, name)))
        if len(found) != expected:
            print(f"check_text: self-test failed: {name} {data!r}: {found}")
            wrong += 1
    for pages, names, expected in SELF_TEST_LINKS:
        found = list(check_links(pages, names))
        if len(found) != expected:
            print(f"check_text: self-test failed: {pages}: {found}")
            wrong += 1
    return 1 if wrong else 0


def main():
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    sections = read_rules((ROOT / ".editorconfig").read_text(encoding="utf-8"))
    names = tracked()
    found = []
    for name in names:
        found += check(name, (ROOT / name).read_bytes(), rules_for(sections, name))
    pages = {name: (ROOT / name).read_text(encoding="utf-8") for name in names
             if name.endswith(".md")}
    found += check_links(pages, names)
    print("\n".join(found) if found else f"{len(names)} files are as .editorconfig wants them")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
