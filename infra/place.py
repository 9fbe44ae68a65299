"""The requested project and environment, and what belongs to them."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from names import ENVIRONMENT

INFRA = Path(__file__).resolve().parent
ROOT = INFRA.parent


def die(message: str) -> NoReturn:
    """Exit with one message."""
    print(f"deploy: {message}", file=sys.stderr)
    raise SystemExit(2)


@dataclass(frozen=True)
class Place:
    """The requested project and environment, and what belongs to them."""

    project: str
    region: str
    environment: str
    name: str
    config: Path

    @property
    def title(self) -> str:
        return f"{self.project}/{self.environment}"

    @property
    def build(self) -> Path:
        return ROOT / "build" / "deploy" / self.project / self.environment

    @property
    def archive(self) -> Path:
        return self.build / "unstick.zip"

    @property
    def state_bucket(self) -> str:
        return f"{self.project}-unstick-state"


def read_place() -> Place:
    """Read the environment variables."""
    project, environment = os.environ.get("PROJECT", ""), os.environ.get("ENV", "") or "production"
    if not project:
        die("PROJECT is not set. Write PROJECT=my-project, the project's id.")
    if not ENVIRONMENT.fullmatch(environment):
        die(f"ENV={environment} must have 2 to 12 characters out of a-z, 0-9 and -, and begin with a letter.")
    name = os.environ.get("NAME", "") or ("unstick" if environment == "production" else f"unstick-{environment}")
    config = Path(os.environ.get("CONFIG", "") or f"unstick.{environment}.yaml").absolute()
    return Place(project, os.environ.get("REGION", "") or "asia-northeast1", environment, name, config)
