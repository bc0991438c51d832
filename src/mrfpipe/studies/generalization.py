"""Table 4 and Fig. 9 of Balsiger et al., Med Image Anal 64:101741 (2020), section 3.6: regions unseen in training.

Three other patients are scanned at shoulder, lower abdomen and pelvis, and their maps are estimated by networks that
were trained on thighs and legs only.
"""

from collections.abc import Sequence
from pathlib import Path

from mrfpipe.phantom.cohort import UNSEEN_REGIONS
from mrfpipe.phantom.truth import PARAMETERS
from mrfpipe.studies.drawing import Column, MapRow, draw_maps
from mrfpipe.studies.published import published_unseen
from mrfpipe.studies.scanned import claim
from mrfpipe.studies.scores import REFERENCES, TITLES, Row, summarise
from mrfpipe.studies.tables import COLUMNS, alone, beside, csv_line, markdown, publish
from mrfpipe.studies.work import Work

NETWORKS_SHOWN = ("proposed", "oksuz", "fang")
"""Networks of Table 4; the second and third are included only if `table2` has trained them."""
SETTINGS = "generalization.json"
OWN_COLUMNS = ("subjects",)
_MAPS_SHOWN = ("FF", "T1H2O")
_REMARK = (
    "R2 over regions of interest of all subjects: patients at shoulder, lower abdomen and pelvis, which are "
    "unseen in training, and the thighs and legs of the test subjects. In parentheses the figures of Balsiger et al. "
    "(2020), Tables 4 and 2, which are against matching, in scans of patients. Other metrics are in the CSV file.\n"
)


def run(folder: Path, work: Work) -> str:
    """Run the study, write ``generalization.csv``, ``.md`` and ``.png``, and return the table in Markdown."""
    claim(work.folder / SETTINGS, {"n_unseen": work.scale.n_unseen})
    work.prepare([*work.split("testing"), *work.unseen()])
    methods = [*(network for network in NETWORKS_SHOWN if network in work.trained()), "match"]
    unseen = [row for method in methods for row in unseen_rows(work, method)]
    seen = [row for method in methods for row in summarise(method, work.test_scores(method))]
    lines = [(name, *csv_line(row)) for name, rows in (("unseen", unseen), ("test", seen)) for row in rows]
    draw(work, folder / "generalization.png")
    return publish(folder / "generalization", (*OWN_COLUMNS, *COLUMNS), lines, format_table(unseen, seen))


def unseen_rows(work: Work, method: str) -> list[Row]:
    """Score a method on the unseen regions."""
    scores = work.scores(f"unseen-{method}", work.unseen(), lambda subject: work.maps(method, subject))
    return summarise(method, [s for s in scores if s.reference != method], published_unseen)


def format_table(unseen: Sequence[Row], seen: Sequence[Row]) -> str:
    """Format R2 as Markdown: one table per reference, one line per kind of subjects and method, one column per map."""
    parts = [_REMARK]
    for reference in reversed(REFERENCES):  # the paper's first
        lines = []
        write = beside if reference == "match" else alone
        for kind, rows in (("unseen regions", unseen), ("thighs and legs", seen)):
            some = [row for row in rows if (row.reference, row.metric) == (reference, "R2")]
            lines += [
                [kind, method, *(write(row) for row in some if row.method == method)]
                for method in dict.fromkeys(row.method for row in some)
            ]
        parts.append(f"## Against {TITLES[reference]}\n")
        parts.append(markdown(["subjects", "method", *(p.name for p in PARAMETERS)], lines))
    return "\n".join(parts)


def draw(work: Work, path: Path) -> None:
    """Draw FF and T1H2O of the first patient's three regions, from matching and the proposed network, as a PNG."""
    rows = []
    for subject in work.unseen()[: len(UNSEEN_REGIONS)]:
        truth, matched, ours = work.truth(subject), work.maps("match", subject), work.maps("proposed", subject)
        columns = [
            Column(title="truth", maps=truth),
            Column(title="matching", maps=matched),
            Column(title="proposed", maps=ours),
            Column(title="matching - proposed", maps=ours, difference_from=matched),
        ]
        rows += [
            MapRow(label=f"{subject.region}\n{p.heading}", parameter=p, truth=truth, columns=columns)
            for p in PARAMETERS
            if p.name in _MAPS_SHOWN
        ]
    draw_maps(rows, "Regions unseen in training, first patient", path)
