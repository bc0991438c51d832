"""``mrfpipe serve``: what it refuses before it listens, and the label that a scanner reads."""

import json
import re
import socket
from importlib import resources
from pathlib import Path

import pytest
from helpers import small_protocol
from mrfpipe.cli.serve import PORT

from mrfpipe.dictionary import build_dictionary
from mrfpipe.files.dictionaries import save_dictionary
from mrfpipe.imaging.choices import BEST
from mrfpipe.run.offer import Offer
from mrfpipe.version import __version__

LABEL = json.loads((resources.files("mrfpipe.run") / "openrecon.json").read_text())


def test_a_port_that_is_taken(run):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"Cannot listen on 127.0.0.1:{port}" in run("serve", "--port", port, code=6).stderr


def test_names_that_are_not_told_apart(run, tmp_path):
    first, second = tmp_path / "a" / "small.h5", tmp_path / "b" / "small.h5"
    dictionary = build_dictionary(small_protocol(matrix=16, count=8, subspace_rank=5))
    for path in (first, second):
        path.parent.mkdir()
        save_dictionary(dictionary, path)
    said = run("serve", "-d", first, "-d", second, "--port", 0, code=4).stderr
    assert f"Two dictionaries or networks are called small, the second is {second}" in said


def test_label_has_what_openrecon_wants():
    """By the rules of its JSON schema, 1.1.0 (neurodesk/openrecon)."""
    assert set(LABEL) == {"general", "reconstruction", "parameters"}
    general, reconstruction, parameters = LABEL["general"], LABEL["reconstruction"], LABEL["parameters"]
    assert set(general) == {"name", "version", "vendor", "information", "id", "regulatory_information"}
    assert general["version"] == __version__
    assert re.fullmatch(r"\d+\.\d+\.\d+", general["version"])
    assert all(isinstance(general[key], str) for key in ("version", "vendor", "id"))
    assert all(isinstance(general[key]["en"], str) for key in ("name", "information"))
    regulatory = (
        "device_trade_name production_identifier manufacturer_address made_in manufacture_date material_number gtin "
        "udi safety_advices special_operating_instructions additional_relevant_information"
    )
    assert set(general["regulatory_information"]) == set(regulatory.split())
    assert all(isinstance(value, str) for value in general["regulatory_information"].values())
    required = {"transfer_protocol", "port", "emitter", "injector", "can_use_gpu", "min_required_memory"}
    optional = {
        "can_process_adjustment_data": bool,
        "min_count_required_gpus": int,
        "min_required_gpu_memory": int,
        "content_qualification_type": str,
        "require_readout_filter_off": bool,
        "channel_compression": dict,
    }
    required |= {"min_count_required_cpu_cores"}
    assert required <= set(reconstruction) <= required | set(optional)
    assert all(isinstance(reconstruction[key], kind) for key, kind in optional.items())
    assert reconstruction["transfer_protocol"] == {"protocol": "ISMRMRD", "version": "1.4.1"}
    assert (reconstruction["emitter"], reconstruction["injector"]) == ("raw", "image")
    assert reconstruction["content_qualification_type"] == "RESEARCH"
    assert reconstruction["channel_compression"] == {"require_state": "off"}
    assert reconstruction["port"] == PORT
    assert reconstruction["min_count_required_cpu_cores"] >= 1
    assert len(parameters) <= 14
    assert len({parameter["id"] for parameter in parameters}) == len(parameters)
    keys = {"choice": {"type", "id", "label", "default", "values"}, "string": {"type", "id", "label"}}
    for parameter in parameters:
        kind = keys[parameter["type"]]
        assert kind <= set(parameter) <= kind | {"information", "default"}
        assert re.fullmatch("[A-Za-z0-9]+", parameter["id"])
        assert all(isinstance(parameter[key]["en"], str) for key in ("label", "information"))
        values = [value["id"] for value in parameter.get("values", [])]
        assert len(set(values)) == len(values)
        assert not values or parameter["default"] in values
        assert all(
            set(value) == {"id", "name"} and set(value["name"]) == {"en"} for value in parameter.get("values", [])
        )


@pytest.mark.parametrize("parameter", LABEL["parameters"], ids=lambda parameter: parameter["id"])
def test_server_takes_all_that_the_label_offers(parameter):
    """One value changed at a time, as OpenRecon sends them all."""
    offer = Offer(dictionaries={"d": "matching"}, networks={"n": "network"}, imaging=BEST)
    for value in parameter.get("values", [{"id": parameter["default"]}]):
        sent = {one["id"]: one["default"] for one in LABEL["parameters"]} | {parameter["id"]: value["id"]}
        by, imaging = offer.chosen(["openrecon", json.dumps({"version": "1.1.0", "parameters": sent})])
        assert by == ("network" if value["id"] == "network" else "matching")
        assert imaging.recon == (value["id"] if value["id"] in {"nufft", "subspace", "joint"} else None)


def test_container_serves_where_the_label_says():
    text = (Path(__file__).parents[2] / "Dockerfile").read_text()
    stage = text[text.index("AS serve") : text.index("# What is built without --target")]
    assert f"EXPOSE {PORT}" in stage
    assert '"com.siemens-healthineers.magneticresonance.openrecon.metadata:1.1.0"=$OPENRECON' in stage
    assert text.rstrip().endswith("FROM command")  # without --target it is the command line
