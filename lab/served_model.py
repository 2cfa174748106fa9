"""Run by a side's own interpreter: `python -c THIS WORKLOAD FOLDER SIZE...` writes the workload's models there and names them, as JSON."""

import json
import sys
from pathlib import Path
from typing import cast

from lab import registry
from lab.errors import LabError
from lab.model.workload import ModelSize


def main(workload_name: str, folder: str, *sizes: ModelSize) -> None:
    workload = registry.workload(workload_name)
    found = {}
    for size in sizes:
        name = workload.model_name(size)
        if name is not None:
            data, digest = workload.model_bytes(size)
            path = Path(folder) / size
            path.write_bytes(data)
            found[size] = {"name": name, "sha256": digest, "path": str(path)}
    sys.stdout.write("\n" + json.dumps(found))


if __name__ == "__main__":
    try:
        main(sys.argv[1], sys.argv[2], *cast(list[ModelSize], sys.argv[3:]))
    except LabError as error:
        sys.exit(f"error: {error.what}")
