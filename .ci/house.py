"""The rules of the house that no compiler knows, looked up in src/ and in the manifests.

Every file introduces itself, is short enough to hold one idea, imports only from the rooms below its own, and leaves
unsafe code to the one file that argues for it. No files import one another in a circle, a partition has floors of its own, and
the methods of a type are found in a handful of files. Files are reached by name in one place. Planted mistakes stand on lines
of their own. The package of the tests compiles the library that users get, and runs every file of tests there is.
"""

import pathlib
import re
import sys
import tomllib

# From the ground up. Rooms on one floor do not know each other.
LADDER = [
    ["planted"],
    ["types"],
    ["error"],
    ["codec", "env"],
    ["storage"],
    ["partition"],
    ["topic"],
    ["table"],
    ["compaction", "tiering"],
    ["producer", "consumer"],
    ["group"],
    ["transaction"],
    ["streamlog"],
    ["streams", "connect"],
]
# The storeys inside a room, in the same way.
STOREYS = {"partition": [["state"], ["log", "keep_open"], ["read"], ["write"], ["handle"], ["open"]]}
FLOOR = {room: floor for floor, rooms in enumerate(LADDER) for room in rooms}
# Not rooms: what opens all doors at once.
ROOFS = {"lib", "bin", "manual", "fuzzing"}
UNSAFE = "env/mapped.rs"
LINES_MAX = 700
# Files are reached by name through an environment, which follows no link and opens nothing but files. These hold one (its
# directory of temporary files is its own), or read a name of the system's.
DOORS = ("env/real.rs", "env/real/", "env/machine.rs")
# They hold no more than the type of an open file.
HOLDERS = ("env/mapped.rs",)
BY_NAME = r"\bfs::\w+|\bFile::(?:open|create|options)\w*|\bOpenOptions\b|\.(?:try_)?exists\(\)|\.(?:canonicalize|read_link|read_dir|symlink_metadata|is_symlink)\(\)"
# Compiled for tests alone.
FIXTURES = ("codec/fixtures.rs", "codec/batch/broker_files.rs")
# Over how many files the methods of one type may be spread, and of the one that users hold.
SPREAD_MAX = 4
SPREAD_OF = {"streamlog::Streamlog": 6}

# What is not mended yet, and is only ever lowered.
SPREAD_STILL = {}

# A planted mistake is a statement on a line of its own: what is real reads as if it were not there.
PLANTED = re.compile(r"\s*(?:unless_)?planted!\(\w+ => .+\);\s*")


def without_comments(text):
    return re.sub(r"//[^\n]*", "", text)


def without_tests(text):
    """Unit tests stand at the end of a file and may look wherever they like."""
    return re.split(r"#\[cfg\(test\)\]\s*(?:#\[[^\]]*\]\s*)*mod \w+ \{", text)[0]


def is_test_file(path):
    return path.stem == "tests" or path.stem.endswith("_tests") or "tests" in path.parts[:-1]


def paths_in(code):
    """Every path in the code that begins with `crate`, `super` or `self`; each path of a group of imports by itself."""
    at = 0
    while start := re.compile(r"\b(?:crate|super|self)\s*::").search(code, at):
        found, at = paths_at(code, start.start())
        yield from found


def paths_at(code, at, head=()):
    while word := re.compile(r"\s*(\w+)(\s*::)?").match(code, at):
        head, at = (*head, word[1]), word.end()
        if not word[2]:
            return [head], at
    group, found = re.compile(r"\s*\{").match(code, at), [head]
    while group and group[0][-1] != "}":
        more, at = paths_at(code, group.end(), head)
        found += more
        group = re.compile(r"[^,{}]*[,}]").match(code, at)
    return found, group.end() if group else at


def module_of(name):
    parts = name.with_suffix("").parts
    return parts[:-1] if parts[-1] in ("mod", "lib", "main") else parts


def target(path, here, modules):
    """The module among `modules` that a path leads into from the module `here`."""
    at = here if path[0] != "crate" else ()
    for step in path:
        if step == "super":
            at = at[:-1]
        elif step not in ("crate", "self"):
            if (*at, step) not in modules:
                break
            at = (*at, step)
    return at


def circle(edges, start):
    """The shortest way from a node back to itself."""
    ways = {node: (start, node) for node in edges.get(start, ())}
    for node in (queue := list(ways)):
        if node == start:
            return ways[node]
        for other in edges.get(node, ()):
            if other not in ways:
                ways[other] = (*ways[node], other)
                queue.append(other)
    return None


def house_faults(root, src):
    """What is seen in all files of a crate together: circles, a room's storeys, and the files of one type's methods."""
    files = {path.relative_to(root / src): path.read_text(encoding="utf-8") for path in sorted((root / src).rglob("*.rs"))}
    codes = {name: without_tests(without_comments(text)) for name, text in files.items() if not is_test_file(name)}
    modules = {module_of(name): name for name in codes}
    edges, rooms, spread = {}, {}, {}
    for name, code in codes.items():
        here = module_of(name)
        for path in paths_in(code):
            to = target(path, here, modules)
            # A module and those inside it are one idea told at two lengths.
            if to and here and to != here[: len(to)] and here != to[: len(here)]:
                edges.setdefault(here, set()).add(to)
            if to and here and to[0] != here[0]:
                rooms.setdefault(here[:1], set()).add(to[:1])
        for found in re.finditer(r"^impl(?:<[^>]*>)?\s+(\w+)(?:<[^>]*>)?\s*(?:where[^{]*)?\{", code, re.M):
            spread.setdefault("::".join((*here[:1], found[1])), set()).add(name)
    yield from circle_faults(edges, {module: f"{src}/{name.as_posix()}" for module, name in modules.items()})
    yield from circle_faults(rooms, {room: f"{src}/{room[0]}/" for room in rooms})
    yield from storey_faults(edges, modules) if src == "src" else ()
    for kind, names in spread.items():
        allowed = SPREAD_STILL.get(kind, SPREAD_OF.get(kind, SPREAD_MAX))
        if len(names) > allowed:
            listed = ", ".join(sorted(name.as_posix() for name in names))
            yield f"{kind}: has methods in {len(names)} files, of which {allowed} are allowed: {listed}"
        elif kind in SPREAD_STILL and len(names) <= SPREAD_OF.get(kind, SPREAD_MAX):
            yield f"{kind}: has methods in no more files than others: strike it from SPREAD_STILL in .ci/house.py"


def circle_faults(edges, names):
    for node, name in names.items():
        if way := circle(edges, node):
            yield f"{name}: imports itself in a circle, {' -> '.join(names[step] for step in way)}"


def storey_faults(edges, modules):
    for room, storeys in STOREYS.items():
        floor = {storey: level for level, names in enumerate(storeys) for storey in names}
        inside = lambda module: module[0] == room and len(module) > 1
        for here, to in ((here, to) for here, others in edges.items() for to in sorted(others)):
            if not inside(here) or not inside(to) or here[1] == to[1]:
                continue
            if missing := [storey for storey in (here[1], to[1]) if storey not in floor]:
                yield f"src/{room}/{missing[0]}: has no storey in .ci/house.py"
            elif floor[here[1]] <= floor[to[1]]:
                yield f"src/{modules[here].as_posix()}: imports {'/'.join(to)}, which is not on a storey below"


def faults(src, path):
    name = path.relative_to(src)
    text = path.read_text(encoding="utf-8")
    if not text.startswith("//!"):
        yield "does not begin with //!"
    lines = text.count("\n")
    if lines > LINES_MAX:
        yield f"has {lines} lines, more than {LINES_MAX}: which two ideas does it hold?"
    code = without_comments(text)
    if name.as_posix() != UNSAFE and re.search(r"\bunsafe\s*(\{|fn\b|impl\b|extern\b|trait\b)", code):
        yield f"has unsafe code, which belongs in src/{UNSAFE}"
    if not name.as_posix().startswith(DOORS + FIXTURES) and not is_test_file(name):
        for found in sorted(set(re.findall(BY_NAME, without_tests(code)))):
            if not (name.as_posix() in HOLDERS and found == "fs::File"):
                yield f"reaches a file by name with {found}, which only an environment may: see src/env/mod.rs"
    if name.as_posix() != "planted.rs":
        for number, line in enumerate(code.split("\n"), 1):
            if "planted!" in line and not PLANTED.fullmatch(line):
                yield f"has a planted mistake in line {number} that is not a statement on a line of its own: see src/planted.rs"
    room = pathlib.Path(name.parts[0]).stem
    if room in ROOFS:
        return
    if room not in FLOOR:
        yield f"is in {room}, a room that has no floor in .ci/house.py"
        return
    if is_test_file(name):
        return
    rooms = {path[1] for path in paths_in(without_tests(code)) if path[0] == "crate" and len(path) > 1}
    for other in sorted(rooms):
        if other in ROOFS:
            yield f"imports {other}, which stands above all rooms"
        elif other in FLOOR and other != room and FLOOR[other] >= FLOOR[room]:
            yield f"imports {other}, which is not below {room}"


def manifest_faults(root):
    """What would keep `cargo test` from testing the library as it is, with every test there is."""
    library, tests = (tomllib.loads((root / path).read_text()) for path in ("Cargo.toml", "tests/Cargo.toml"))
    for table in ("dependencies", "target"):
        of_tests = {name: {"dependencies": d["dependencies"]} for name, d in tests["target"].items() if "dependencies" in d}
        if library[table] != (of_tests if table == "target" else tests[table]):
            yield f"has other [{table}] than the library's Cargo.toml"
    features = {name: needs for name, needs in tests["features"].items() if name not in ("default", "__unit_tests")}
    if features != {name: needs for name, needs in library["features"].items() if name != "default"}:
        yield "has other [features] than the library's Cargo.toml"
    if library["package"].get("rust-version") != tests["package"].get("rust-version"):
        yield "has another rust-version than the library's Cargo.toml"
    public = sorted(name for name in library["features"] if name != "default" and not name.startswith("__"))
    if library["package"]["metadata"]["docs"]["rs"]["features"] != public:
        yield f"beside it, Cargo.toml names other features for docs.rs than the public ones, {public}"
    there = {path.relative_to(root / "tests").as_posix() for path in (root / "tests").glob("*.rs")}
    there |= {f"{path.parent.name}/main.rs" for path in (root / "tests").glob("*/main.rs")}
    listed = {test["path"] for test in tests["test"]}
    yield from (f"has no [[test]] for {path}, which nobody would run" for path in sorted(there - listed))
    yield from (f"has a [[test]] for {path}, which is not there" for path in sorted(listed - there))


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    src = root / "src"
    files = sorted(src.rglob("*.rs"))
    found = [f"src/{path.relative_to(src)}: {fault}" for path in files for fault in faults(src, path)]
    found += [fault for crate in ("src", "benches/peers/src") for fault in house_faults(root, crate)]
    found += [f"tests/Cargo.toml: {fault}" for fault in manifest_faults(root)]
    print("\n".join(found) if found else f"{len(files)} files keep the rules of the house")
    return 1 if found or not files else 0


if __name__ == "__main__":
    sys.exit(main())
