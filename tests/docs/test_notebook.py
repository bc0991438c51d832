"""The notebook runs from top to bottom, and each cell shows what is kept in the file as its output.

`jupyter nbconvert --execute --inplace docs/first-notebook.ipynb` renews the outputs. Here the cells run in this
process, without a kernel of Jupyter, which would need thirty packages more.
"""

import ast
import contextlib
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from documents import command

DOCS = Path(__file__).parents[2] / "docs"
NOTEBOOK = DOCS / "first-notebook.ipynb"


@pytest.fixture(scope="module")
def cells():
    return json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]


def run(source, names):
    """Run a cell as Jupyter does; return the kinds of what it shows, in order."""
    import matplotlib.pyplot as plt

    shown, printed = [], io.StringIO()
    tree = ast.parse(re.sub(r"^!(.*)$", lambda line: f"_command({line[1]!r})", source, flags=re.MULTILINE))
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) and not source.rstrip().endswith(";") else None
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, "cell", "exec"), names)  # noqa: S102 - the text is this repository's
        value = None if last is None else eval(compile(ast.Expression(last.value), "cell", "eval"), names)  # noqa: S307 - likewise
    if printed.getvalue():
        shown.append({"stream"})
    if value is not None:
        kinds = {"text/html": "_repr_html_", "image/png": "_repr_png_"}
        shown.append({"text/plain", *(kind for kind, method in kinds.items() if getattr(value, method, None))})
    for number in plt.get_fignums():
        plt.figure(number).savefig(io.BytesIO(), format="png")
        shown.append({"image/png", "text/plain"})
    plt.close("all")
    return shown


def test_every_cell_runs_and_shows_what_is_kept(cells, tmp_path, monkeypatch):
    import matplotlib as mpl

    monkeypatch.chdir(tmp_path)
    backend = mpl.get_backend()
    mpl.use("Agg")
    names = {"_command": lambda line: print(command(line))}  # noqa: T201 - as the cell does
    for cell in cells:
        if cell["cell_type"] == "code":
            kept = [{*output.get("data", {"stream": 0})} for output in cell["outputs"]]
            assert run("".join(cell["source"]), names) == kept, cell["id"]
    mpl.use(backend)
    maps, lean, mine, truth = (names[name] for name in ("maps", "lean", "mine", "truth"))
    assert 1300 < maps["T1H2O"][lean].mean() < 1450
    assert {"report.html", "maps.h5", "FF.nii.gz"} <= {path.name for path in (tmp_path / "results/scan").iterdir()}
    # of fingerprints with a noise of 1 % of their largest value; 0.0036 and 8 ms were found
    assert np.sqrt(np.mean((mine["FF"][0] - truth["FF"]) ** 2)) < 0.01
    assert np.sqrt(np.mean((mine["T1H2O"][0] - truth["T1H2O"]) ** 2)) < 20
    bounds = names["bounds"]["T1H2O"]
    assert bounds[-1] > 2 * bounds[1] > 0


def test_its_links_lead_somewhere(cells):
    texts = "".join(line for cell in cells if cell["cell_type"] == "markdown" for line in cell["source"])
    targets = re.findall(r"\]\(([^)#]+)\)", texts)
    assert len(targets) > 5
    assert [target for target in targets if not (DOCS / target).exists()] == []
