"""Writes the table of infra/module/README.md from the module's own files: python -m tools.docs.terraform_page."""

from __future__ import annotations

import re
from pathlib import Path

from tools.docs.tables import with_tables

MODULE = Path(__file__).resolve().parents[2] / "infra" / "module"
PAGE = MODULE / "README.md"
BEGIN = "<!-- tables: python -m tools.docs.terraform_page -->"


def read_blocks(kind: str, file: str) -> list[tuple[str, dict[str, str]]]:
    """Name and arguments of each block of this kind, in the file's order."""
    text = (MODULE / file).read_text(encoding="utf-8")
    blocks = re.findall(rf'^{kind} "(\w+)" \{{\n(.*?)^\}}', text, re.MULTILINE | re.DOTALL)
    return [(name, _arguments(body)) for name, body in blocks]


def _arguments(body: str) -> dict[str, str]:
    """The assignments at the first level, on one line each."""
    found = re.findall(r"^  (\w+) += (.*?)(?=^  \w+ +=|^  \w+ \{|^$|\Z)", body, re.MULTILINE | re.DOTALL)
    return {name: re.sub(r"\s+", " ", value).strip() for name, value in found}


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def tables() -> str:
    """The inputs."""
    inputs = [
        f"| `{name}` | {_cell(of['description'].strip(chr(34)).replace(chr(92), ''))} | "
        + (f"`{_cell(of['default'])}` |" if "default" in of else "required |")
        for name, of in read_blocks("variable", "variables.tf")
    ]
    typed = "[variables.tf](variables.tf) has their types and checks, [outputs.tf](outputs.tf) the outputs."
    lines = ["## Inputs", "", typed, "", "| name | what | default |", "| --- | --- | --- |", *inputs, ""]
    return "\n".join(lines[:-1])


def page() -> str:
    """The page with its tables replaced."""
    return with_tables(PAGE, BEGIN, tables())


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
