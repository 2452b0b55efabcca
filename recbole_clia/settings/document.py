"""Write docs/properties.md from the property files.

python -m recbole_clia.settings.document > docs/properties.md
"""

from __future__ import annotations

from tabulate import tabulate

from .check import PACKED_BASELINES, PACKED_PROPERTIES
from .properties import COMMON_PROPERTIES, PROPERTIES_DIR, Property, read_properties

HEAD = """# Properties

Made from the property files by `python -m recbole_clia.settings.document > docs/properties.md`.

A property is set as `--key=value` on the command line, in a yaml file (`--config_files`), or in a
dictionary (`run(config_dict=...)`). RecBole's own properties (`learning_rate`, `epochs`, `topk`, ...) hold beside
these; they are documented by RecBole. The settings of a dataset stand in `properties/dataset/NAME.yaml`.
"""


def properties_page() -> str:
    """The whole page, as Markdown."""
    parts = [HEAD]
    titles = {COMMON_PROPERTIES: "Every model that this package runs"}
    titles.update({path: path.stem for path in sorted((PROPERTIES_DIR / "model").glob("*.yaml"))})
    titles[PACKED_PROPERTIES] = ", ".join(PACKED_BASELINES) + ": beside RecBole's own properties"
    for path in sorted((PROPERTIES_DIR / "protocol").glob("*.yaml")):
        titles[path] = f"Protocol of evaluation: `--config_files {path.stem}`"
    for path, title in titles.items():
        rows = [_row(prop) for prop in read_properties(path).values()]
        parts.append(f"## {title}\n")
        parts.append(
            tabulate(rows, ["property", "type", "default", "range", "meaning"], "github", disable_numparse=True)
        )
        parts.append("")
    return "\n".join(parts)


def _row(prop: Property) -> list[str]:
    default = "none" if prop.default is None else str(prop.default)
    allowed = "" if prop.allowed is None else str(prop.allowed).removeprefix("in ")
    return [f"`{prop.key}`", prop.type, default, allowed, prop.meaning]


if __name__ == "__main__":
    print(properties_page(), end="")
