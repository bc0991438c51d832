"""Methods: a paragraph for a paper on how a result was made, with references."""

from collections.abc import Callable, Iterator

from mrfpipe.files.provenance import Provenance, Recipe
from mrfpipe.imaging.reconstruction import FREQUENCIES
from mrfpipe.maps import ParameterMaps
from mrfpipe.physics.simulate import TITLES

_ASSLAENDER = "Asslaender et al., Magn Reson Med 79:83 (2018)"
_BALSIGER = "Balsiger et al., Med Image Anal 64:101741 (2020), doi:10.1016/j.media.2020.101741"
_BARNETT = "Barnett et al., SIAM J Sci Comput 41:C479 (2019)"
_CAULEY = "Cauley et al., Magn Reson Med 74:523 (2015)"
_LIMIT = "Zhao et al., IEEE Trans Med Imaging 38:844 (2019)"
_MA = "Ma et al., Nature 495:187 (2013)"
_MAN = "Man et al., Magn Reson Med 37:785 (1997)"
_MARTY = "Marty and Carlier, Magn Reson Med 83:621 (2020)"
_MCGIVNEY = "McGivney et al., IEEE Trans Med Imaging 33:2311 (2014)"
_ONG = "Ong and Lustig, Proc Intl Soc Magn Reson Med 27:4819 (2019)"
_ROSENZWEIG = "Rosenzweig et al., Magn Reson Med 81:1898 (2019)"
_SCHAUMAN = "Schauman et al., Magn Reson Mater Phy 38 (2025)"
_UECKER = "Uecker et al., Magn Reson Med 71:990 (2014)"
_YING = "Ying and Sheng, Magn Reson Med 57:1196 (2007)"
_DEMPSTER = "Dempster et al., J R Stat Soc B 39:1 (1977)"
_ZHANG = "Zhang et al., Magn Reson Med 73:655 (2015)"
_ZHAO = "Zhao et al., Magn Reson Med 79:933 (2018)"

_SEQUENCES = {"t1ff": _MARTY, "t1ff-small": _MARTY, "fisp": _SCHAUMAN, "fisp-spiral": _SCHAUMAN}
"""References for the sequences of the included protocols."""
_COIL_MAPS = {"centre": ("the centre of k-space",), "espirit": ("ESPIRiT", _UECKER), "jsense": ("JSENSE", _YING)}
_LIBRARIES = {"sigpy": _ONG, "finufft": _BARNETT, "torch": _BARNETT}
_SEARCHES = {
    "exact": ("an exact search for the best entry",),
    "group": ("group matching", _CAULEY),
    "brute": ("an exhaustive search for the best entry",),
}
_Cite = Callable[..., str]
"""Returns the numbers of references, in the order of first citation, as ``" [1, 2]"``."""


def methods(maps: ParameterMaps, provenance: Provenance) -> str:
    """Describe how maps were made, as plain text: a paragraph and its list of references."""
    cited: list[str] = []

    def cite(*works: str) -> str:
        cited.extend(work for work in works if work not in cited)
        return f" [{', '.join(str(cited.index(work) + 1) for work in works)}]" if works else ""

    text = " ".join(_sentences(maps, provenance, cite))
    return "\n".join([text, "", *(f"{number}. {work}" for number, work in enumerate(cited, start=1))])


def _sentences(maps: ParameterMaps, made: Provenance, cite: _Cite) -> Iterator[str]:
    names = ", ".join(p.name if p.title == p.name else f"{p.title} ({p.name})" for p in maps.parameters)
    yield (
        f"Maps of {names} were computed from a magnetic resonance fingerprinting scan{cite(_MA)} with "
        f"mrfpipe {made.versions.get('mrfpipe', '')}, which implements the method of Balsiger et al.{cite(_BALSIGER)}."
    )
    sequence = _SEQUENCES.get(made.protocol_name)
    source = f"; sequence{cite(sequence)}" if sequence else ""
    yield f"Protocol: {made.protocol_name} (hash {made.protocol_hash[:12]}{source})."
    if made.recipe is not None:
        yield from _of_images(made, made.recipe, cite)
        yield _of_maps(made.recipe, cite)
    if maps.sd is not None:
        yield f"Standard deviations under noise were predicted from Fisher information{cite(_LIMIT)}."
    yield f"Settings: {made.method}."
    others = ", ".join(f"{name} {number}" for name, number in made.versions.items() if name != "mrfpipe")
    yield f"Versions: {others}."


def _of_images(made: Provenance, recipe: Recipe, cite: _Cite) -> Iterator[str]:
    """Describe how images were reconstructed from the raw scan; if the input was images, use their notes."""
    how, notes = recipe.imaging, made.notes
    if notes.get("gradient_delays_corrected") is not None:
        found = "and corrected" if notes["gradient_delays_corrected"] else "and found too small to correct"
        yield f"Gradient delays were estimated from spokes that cross{cite(_ROSENZWEIG)} {found}."
    if not how:
        yield "Images of the frames were reconstructed beforehand."
        return
    noise = "the noise measurement of the scan" if how.get("noise") == "scan" else "the edge of k-space"
    coils = "" if how.get("virtual_coils") is None else f", compressed to at most {how['virtual_coils']} virtual coils,"
    by, *works = _COIL_MAPS.get(str(how.get("coil_maps")), (str(how.get("coil_maps")),))
    yield (
        f"Receive coils were prewhitened with {noise}{coils} and their sensitivities estimated from {by}{cite(*works)}."
    )
    library = str(how.get("backend")) if made.device == "cpu" else "torch"
    libraries = [work for name, work in _LIBRARIES.items() if name == library]
    if how.get("recon") == "nufft":
        yield (
            "Each frame was reconstructed by itself, by the density-compensated adjoint of a non-uniform FFT "
            f"({library}{cite(*libraries)})."
        )
    else:
        yield (
            "Images of the coefficients of the signals in a temporal subspace were reconstructed from all readouts by "
            f"conjugate gradients{cite(_ZHAO, _ASSLAENDER)} with a non-uniform FFT ({library}{cite(*libraries)}), and "
            f"denoised by locally low-rank shrinkage{cite(_ZHANG)}."
        )
    if FREQUENCIES in notes:
        yield f"Off-resonance was corrected by a field map{cite(_MAN)}."


def _of_maps(recipe: Recipe, cite: _Cite) -> str:
    if recipe.kind == "network":
        return f"The maps were estimated by a convolutional network{cite(_BALSIGER)}, trained on simulated scans."
    if recipe.kind != "matching":
        return f"The maps were made by {recipe.kind}."
    spoiling, _, profile = str(recipe.signal_model).partition(" ")
    model = f"{TITLES.get(spoiling, spoiling)}{profile and ' ' + profile}"
    search, *works = _SEARCHES.get(str(recipe.options.get("method")), (str(recipe.options.get("method")),))
    refined = ", and refined between the entries" if recipe.options.get("refined") else ""
    matched = (
        f"Every voxel was matched by correlation with a dictionary simulated by {model}, compressed by singular value "
        f"decomposition{cite(_MCGIVNEY)}, by {search}{cite(*works)}{refined}."
    )
    is_fitted = recipe.imaging.get("recon") in {"subspace", "joint"} and recipe.imaging.get("field_map") is None
    if not is_fitted or not recipe.options.get("refined"):
        return matched
    return (
        f"{matched} From these maps, one Gauss-Newton step fitted the parameters and complex scales of all voxels "
        "jointly to all samples. Its prior was the smoothness of each map, learned from the scan by "
        f"expectation maximisation{cite(_DEMPSTER)}."
    )
