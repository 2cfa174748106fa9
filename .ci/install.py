"""Installs this project into its environment, and writes down what was downloaded and how long it took: install.py REQUIREMENT STAMP."""

import re
import subprocess
import sys
import time
from pathlib import Path

UNITS = {"KiB": 1 / 1024, "MiB": 1.0, "GiB": 1024.0}


def main(requirement: str, stamp: Path) -> None:
    began = time.monotonic()
    uv = Path(sys.executable).with_name("uv")
    command = [str(uv), "pip", "install", "--python", sys.executable, "--editable", requirement]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    sys.stderr.write(done.stderr)
    if done.returncode:
        sys.exit(done.returncode)
    sizes = re.findall(r"Downloading \S+ \(([\d.]+)(KiB|MiB|GiB)\)", done.stderr)
    downloaded_mib = sum(float(size) * UNITS[unit] for size, unit in sizes)
    took_s = time.monotonic() - began
    disk_mib = sum(f.stat().st_size for f in Path(sys.prefix).rglob("*") if f.is_file() and not f.is_symlink()) / 2**20
    cached = "" if sizes else " (packages came from this machine's cache)"
    stamp.write_text(f"installed: {downloaded_mib:.0f} MiB downloaded{cached} in {took_s:.0f} s, {disk_mib:.0f} MiB on disk\n")


main(sys.argv[1], Path(sys.argv[2]))
