#!/usr/bin/env python3
"""Takes out of a folder of vendored crates what no Linux needs, and collects the licences of the others: dist_crates.py VENDOR NOTICES

cargo reads the manifest of every crate in Cargo.lock. Of one that is for other systems alone, nothing but that stays.
"""

import json
import pathlib
import shutil
import subprocess
import sys
import tomllib

SYSTEMS = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu", "x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl"]
LICENCES = ("LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE")


def for_linux():
    """The name and version of every crate that is compiled on Linux."""
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--all-features"]
    for system in SYSTEMS:
        command += ["--filter-platform", system]
    graph = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    used = {node["id"] for node in graph["resolve"]["nodes"]}
    return {(package["name"], package["version"]) for package in graph["packages"] if package["id"] in used}


def empty(crate, manifest):
    """Leaves the manifest of a crate, and nothing in the files that cargo wants to see beside it."""
    targets = [manifest.get("lib", {})] + [target for kind in ("bin", "example", "test", "bench") for target in manifest.get(kind, [])]
    named = [target["path"] for target in targets if "path" in target]
    named += [build for build in [manifest["package"].get("build")] if build]
    named += [name for name in ("src/lib.rs", "build.rs") if (crate / name).exists()]
    checksums = crate / ".cargo-checksum.json"
    package = json.loads(checksums.read_text())["package"]
    for entry in crate.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry.name != "Cargo.toml":
            entry.unlink()
    for name in named:
        (crate / name).parent.mkdir(parents=True, exist_ok=True)
        (crate / name).write_text("")
    checksums.write_text(json.dumps({"files": {}, "package": package}))


def licences(crate, package):
    """What a crate says of its licence."""
    files = sorted(f for f in crate.rglob("*") if f.is_file() and f.name.upper().startswith(LICENCES) and f.suffix not in (".rs", ".c", ".h"))
    head = f"{package['name']} {package['version']}: {package.get('license', 'see below')}"
    people = ", ".join(package.get("authors", []))
    texts = [f.read_text(errors="replace").strip() for f in files]
    return head + (f"\nby {people}" if people else ""), texts


def main(vendor, notices):
    used = for_linux()
    heads, texts = [], {}
    for crate in sorted(pathlib.Path(vendor).iterdir()):
        manifest = tomllib.loads((crate / "Cargo.toml").read_text())
        package = manifest["package"]
        if (package["name"], package["version"]) not in used:
            empty(crate, manifest)
            continue
        head, own = licences(crate, package)
        heads.append(head)
        for text in own:
            texts.setdefault(text, []).append(package["name"])
    with open(notices, "w") as out:
        print("What swrcache is built with, and the licence of each; the texts stand below.\n", file=out)
        print("\n".join(heads), file=out)
        for text, names in texts.items():
            print(f"\n{'=' * 100}\n{', '.join(dict.fromkeys(names))}\n{'=' * 100}\n\n{text}", file=out)
    print(f"dist: {len(heads)} crates")


main(*sys.argv[1:])
