"""The rules of the house that no compiler knows, looked up in src/ and in the manifests.

Every file introduces itself, is short enough to hold one idea, imports only from the rooms below its own, and leaves
unsafe code to the one file that argues for it. Files are reached by name in one place. The package of the tests compiles the library that users get, and runs
every file of tests there is.
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
    ["compaction", "tiering"],
    ["producer", "consumer"],
    ["group"],
    ["transaction"],
    ["streamlog"],
    ["streams", "connect"],
]
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


def without_comments(text):
    return re.sub(r"//[^\n]*", "", text)


def without_tests(text):
    """Unit tests stand at the end of a file and may look wherever they like."""
    return re.split(r"#\[cfg\(test\)\]\s*(?:#\[[^\]]*\]\s*)*mod \w+ \{", text)[0]


def is_test_file(path):
    return path.stem == "tests" or path.stem.endswith("_tests") or "tests" in path.parts[:-1]


def imported_rooms(code):
    """The rooms named after `crate::`, in paths and in groups of imports."""
    for match in re.finditer(r"\bcrate::", code):
        rest = code[match.end() :]
        if not rest.startswith("{"):
            yield re.match(r"\w*", rest)[0]
            continue
        depth, item = 0, ""
        for character in rest:
            depth += (character == "{") - (character == "}")
            if depth == 0 or (depth == 1 and character == ","):
                yield re.match(r"\s*(\w*)", item)[1]
                item = ""
                if depth == 0:
                    break
            elif not (depth == 1 and character == "{"):
                item += character


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
    room = pathlib.Path(name.parts[0]).stem
    if room in ROOFS:
        return
    if room not in FLOOR:
        yield f"is in {room}, a room that has no floor in .ci/house.py"
        return
    if is_test_file(name):
        return
    for other in sorted(set(imported_rooms(without_tests(code)))):
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
    found += [f"tests/Cargo.toml: {fault}" for fault in manifest_faults(root)]
    print("\n".join(found) if found else f"{len(files)} files keep the rules of the house")
    return 1 if found or not files else 0


if __name__ == "__main__":
    sys.exit(main())
