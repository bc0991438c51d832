"""The methods paragraph: what was done, in the order of its references, with the versions."""

import dataclasses
import re
from typing import get_args

import pytest

from mrfpipe.files.provenance import Recipe
from mrfpipe.imaging.coils import MapMethod
from mrfpipe.imaging.nufft import Backend
from mrfpipe.matching.match import Method
from mrfpipe.physics.simulate import Spoiling
from mrfpipe.report.methods import methods

RAW = {"backend": "finufft", "coil_maps": "centre", "noise": "scan", "virtual_coils": 8}
MATCHING = {"method": "exact", "refined": True, "gap": False}


@pytest.fixture
def made(provenance):
    """Give the provenance of a result by the settings of its recipe."""

    def make(kind="matching", options=MATCHING, model="spoiled", notes=None, **imaging):
        recipe = Recipe(
            kind=kind, scan="0", by=None, protocol="0", signal_model=model, imaging=imaging, options=options
        )
        versions = {"mrfpipe": "1.2.3", "python": "3.11.7", "numpy": "2.4.6"}
        return dataclasses.replace(
            provenance, recipe=recipe, protocol_hash="0123456789abcdef", versions=versions, notes=notes or {}
        )

    return make


def cited(text):
    """Return the paragraph with its references in their places; every reference is cited, in order of its first."""
    paragraph, listed = text.split("\n\n")
    works = dict(re.findall(r"^(\d+)\. (.*)$", listed, flags=re.MULTILINE))
    numbers = [n for group in re.findall(r"\[([\d, ]+)\]", paragraph) for n in group.split(", ")]
    assert list(dict.fromkeys(numbers)) == list(works) == [str(i + 1) for i in range(len(works))]
    return re.sub(r"\[([\d, ]+)\]", lambda m: f"[{'; '.join(works[n] for n in m[1].split(', '))}]", paragraph)


def test_a_joint_reconstruction(maps, made):
    notes = {"gradient_delays_corrected": True, "gradient_delays_samples": {"x": 0.25}}
    sd = {name: abs(values) for name, values in maps.si.items()}
    text = methods(dataclasses.replace(maps, sd=sd), made(recon="joint", notes=notes, **RAW))
    said = cited(text)
    assert said.startswith("Maps of fat fraction (FF), T1 of water (T1H2O), ")
    for words in (
        "mrfpipe 1.2.3, which implements the method of Balsiger et al. [Balsiger et al., Med Image Anal 64:101741 (",
        "Protocol: t1ff (hash 0123456789ab; sequence [Marty and Carlier, Magn Reson Med 83:621 (2020)]).",
        "spokes that cross [Rosenzweig et al., Magn Reson Med 81:1898 (2019)] and corrected.",
        "noise measurement of the scan, compressed to at most 8 virtual coils, ",
        "estimated from the centre of k-space.",
        "conjugate gradients [Zhao et al., Magn Reson Med 79:933 (2018); Asslaender et al., Magn Reson Med 79:83 (2018",
        "a non-uniform FFT (finufft [Barnett et al., SIAM J Sci Comput 41:C479 (2019)])",
        "a dictionary simulated by ideal spoiling, compressed",
        "by an exact search for the best entry, and refined between the entries.",
        "one Gauss-Newton step fitted the parameters",
        "by expectation maximisation [Dempster et al., J R Stat Soc B 39:1 (1977)].",
        "Fisher information [Zhao et al., IEEE Trans Med Imaging 38:844 (2019)].",
        "Versions: python 3.11.7, numpy 2.4.6.",
    ):
        assert words in said, words


def test_the_step_of_a_subspace_reconstruction(maps, made):
    step = "one Gauss-Newton step fitted the parameters and complex scales of all voxels jointly to all samples"
    assert step in methods(maps, made(recon="subspace", **RAW))
    assert step in methods(maps, made(recon="joint", **RAW))
    assert step not in methods(maps, made(recon="nufft", **RAW))
    assert step not in methods(maps, made(recon="subspace", **RAW | {"field_map": "0" * 64}))


def test_a_subspace_reconstruction_without_what_it_does_not_have(maps, made):
    options = {"method": "group", "refined": False, "gap": False}
    said = cited(methods(maps, made(recon="subspace", options=options, model="epg with slice profile", **RAW)))
    assert "conjugate gradients" in said
    assert "extended phase graphs with slice profile, compressed" in said
    assert "by group matching [Cauley et al., Magn Reson Med 74:523 (2015)]." in said
    for absent in ("Gauss-Newton", "Gradient delays", "Standard deviations", "refined"):
        assert absent not in said


def test_frames_of_a_raw_scan_and_frames_that_were_there(maps, made):
    how = RAW | {"backend": "sigpy", "virtual_coils": None, "coil_maps": "espirit", "noise": "edges"}
    said = cited(methods(maps, made(recon="nufft", **how)))
    assert "prewhitened with the edge of k-space and their sensitivities estimated from ESPIRiT [Uecker et al." in said
    assert (
        "Each frame was reconstructed by itself, by the density-compensated adjoint of a non-uniform FFT (sigpy ["
        in said
    )
    there = cited(methods(maps, made()))
    assert "Images of the frames were reconstructed beforehand." in there
    assert "sigpy" not in there


def test_a_reconstruction_on_a_gpu(maps, made):
    """By torch, whatever the library for the CPU."""
    provenance = dataclasses.replace(made(recon="nufft", **RAW), device="cuda:0")
    said = cited(methods(maps, provenance))
    assert "adjoint of a non-uniform FFT (torch [Barnett et al., SIAM J Sci Comput 41:C479 (2019)])" in said


def test_a_network(maps, made):
    said = cited(
        methods(maps, made(kind="network", options={"precision": "float32"}, model=None, recon="subspace", **RAW))
    )
    assert "by a convolutional network [Balsiger et al., Med Image Anal 64:101741 (2020)" in said
    assert "dictionary simulated" not in said


def test_a_result_without_a_recipe(maps, provenance):
    assert "Settings: exact." in methods(maps, dataclasses.replace(provenance, recipe=None))


@pytest.mark.parametrize("library", get_args(Backend))
def test_every_choice_of_the_command_line_has_its_words(maps, made, library):
    how = RAW | {"backend": library}
    assert f"({library} [" in methods(maps, made(recon="subspace", **how))
    for coil_maps in get_args(MapMethod):
        assert f"estimated from {coil_maps}" not in methods(maps, made(recon="joint", **how | {"coil_maps": coil_maps}))
    for method in get_args(Method):
        assert f"by {method}." not in methods(maps, made(options={"method": method}))
    for spoiling in get_args(Spoiling):
        assert f"simulated by {spoiling}," not in methods(maps, made(model=spoiling))
