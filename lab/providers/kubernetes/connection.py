"""From a kubeconfig and a context's name to how that cluster is reached; says what is wrong with the file."""

from __future__ import annotations

import os
from pathlib import Path

import yaml
from lightkube import KubeConfig
from lightkube.config.kubeconfig import SingleConfig
from lightkube.core.exceptions import ConfigError

from lab.errors import InputError, MachineError

DEFAULT_KUBECONFIG = "~/.kube/config"


def kubeconfig_path(given: Path | None) -> Path:
    return given or Path(os.environ.get("KUBECONFIG", "").split(os.pathsep)[0] or DEFAULT_KUBECONFIG).expanduser()


def connection(kubeconfig: Path | None, context: str) -> SingleConfig:
    """Raises InputError or MachineError for what is wrong with the file."""
    path = kubeconfig_path(kubeconfig)
    try:
        found = KubeConfig.from_file(path)
    except ConfigError as error:
        raise MachineError(f"there is no kubeconfig at {path}", "set KUBECONFIG, or use provider kind, which makes its own") from error
    except OSError as error:
        raise MachineError(f"the kubeconfig {path} cannot be read: {error.strerror}", "check its owner and mode") from error
    except (yaml.YAMLError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise MachineError(f"{path} is not a kubeconfig: {error}", "`kubectl config view` must be able to read it") from error
    chosen = context or found.current_context
    if not chosen or chosen not in found.contexts:
        known = ", ".join(found.contexts) or "none"
        what = f"{path} has no context {chosen!r}; it has {known}" if chosen else f"{path} names no current context; it has {known}"
        raise InputError(what, "set kubernetes.context to one of them")
    try:
        one = found.get(chosen)
    except KeyError as error:
        raise InputError(f"context {chosen!r} of {path} names {error}, which is not there", "mend the kubeconfig") from error
    if one is None or one.user is None:
        raise InputError(
            f"context {chosen!r} of {path} names no user", "`kubectl config set-context --user`, or another kubernetes.context"
        )
    return one
