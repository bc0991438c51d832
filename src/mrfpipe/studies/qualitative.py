"""Fig. 3 of Balsiger et al., Med Image Anal 64:101741 (2020): maps of one patient and how far they are from matching.

The paper shows the thigh of a man of 71 with inclusion body myositis; here the most similar test subject is shown.
"""

from pathlib import Path

from mrfpipe.phantom.cohort import Subject
from mrfpipe.phantom.truth import PARAMETERS
from mrfpipe.studies.drawing import Column, MapRow, draw_maps
from mrfpipe.studies.scores import Row, score, summarise
from mrfpipe.studies.tables import COLUMNS, csv_line, metric_table, publish
from mrfpipe.studies.work import Work

NETWORKS_SHOWN = ("proposed", "oksuz", "fang")
"""Networks that the figure shows; the second and third are included only if `table2` has trained them."""
_METRICS = ("NRMSE", "PSNR", "SSIM")


def run(folder: Path, work: Work) -> str:
    """Run the study, write ``qualitative.csv``, ``.md`` and ``.png``, and return the table in Markdown."""
    subject = most_alike(work.split("testing"))
    shown = [network for network in NETWORKS_SHOWN if network in work.trained()]
    rows = [row for network in shown for row in errors(work, network, subject) if row.metric in _METRICS]
    text = (
        f"{describe(subject)}: networks against matching on the grid. In parentheses mean and standard deviation over "
        "the 50 patients of Balsiger et al. (2020), Table 2; of the one in their Fig. 3 there are no numbers.\n\n"
        + metric_table(rows, _METRICS)
    )
    draw(work, subject, shown, folder / "qualitative.png")
    return publish(folder / "qualitative", COLUMNS, map(csv_line, rows), text)


def most_alike(subjects: tuple[Subject, ...]) -> Subject:
    """Return the subject who is most similar to the paper's patient in disease, region and sex, and then in age."""

    def distance(subject: Subject) -> tuple[int, float]:
        differs = (subject.disease != "IBM") + (subject.region != "thigh") + (subject.sex != "M")
        return differs, abs(subject.age - 71)

    return min(subjects, key=distance)


def describe(subject: Subject) -> str:
    """Describe the subject and the scanned region in words."""
    sex = "woman" if subject.sex == "F" else "man"
    return f"{subject.name}, {subject.region} of a {sex} of {subject.age:.0f} ({subject.disease})"


def errors(work: Work, network: str, subject: Subject) -> list[Row]:
    """Compare a network's maps of one subject with matching on the grid."""
    maps, matched = work.maps(network, subject), work.maps("match", subject)
    rois = work.scans.phantom(subject).rois
    return summarise(network, score(maps, matched, rois, subject=subject.name, against="match"))


def draw(work: Work, subject: Subject, networks: list[str], path: Path) -> None:
    """Draw true maps, matched maps, and every network's maps with their difference from matching, as a PNG."""
    truth, matched = work.truth(subject), work.maps("match", subject)
    columns = [Column(title="truth", maps=truth), Column(title="matching", maps=matched)]
    for network in networks:
        maps = work.maps(network, subject)
        columns += [
            Column(title=network, maps=maps),
            Column(title=f"matching - {network}", maps=maps, difference_from=matched),
        ]
    rows = [MapRow(label=p.heading, parameter=p, truth=truth, columns=columns) for p in PARAMETERS]
    draw_maps(rows, describe(subject), path)
