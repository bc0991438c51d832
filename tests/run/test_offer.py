"""What a server offers, and how a client's configuration chooses from it."""

import json
from dataclasses import replace

import pytest

from mrfpipe.errors import InputError
from mrfpipe.imaging.choices import Imaging
from mrfpipe.run.offer import Offer

MAPPER = "first"
AS_STORED = Imaging(correct_delays=False)


@pytest.mark.parametrize("form", ["plain", "OpenRecon's"])
def test_configuration(form):
    chosen = {"config": "network", "recon": "subspace", "model": "b"}
    text = json.dumps(chosen if form == "plain" else {"version": "1.1.0", "parameters": chosen})
    offer = Offer(dictionaries={"d": MAPPER}, networks={"a": MAPPER, "b": "second"}, imaging=AS_STORED)
    assert offer.chosen(["openrecon", text]) == ("second", Imaging(recon="subspace", correct_delays=False))
    assert offer.chosen([]) == offer.chosen(["default"]) == (MAPPER, AS_STORED)
    assert replace(offer, dictionaries={}, networks={"b": "second"}).chosen([""])[0] == "second"


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("../../etc/passwd", "no configuration '../../etc/passwd'; choose matching, network or default"),
        ('{"dictionary": "/etc/passwd"}', "has no dictionary '/etc/passwd'; it has d"),
        ('{"config": "network"}', "has no model ''; it has none; start it with --model"),
        ('{"recon": "best"}', "no reconstruction 'best'"),
        ('{"refine": "no"}', "has keys other than config, recon"),
        ('{"recon": 3}', "values that are not text"),
        ('{"parameters": []}', "keys other than"),
        ("{" * 10_000, "is not JSON"),
        ("[" * 10_000, "no configuration"),
        ('{"a":' + "[" * 100_000, "is not JSON"),
        ("a\nb\x1b[0m", r"no configuration 'a\nb\x1b[0m'"),
    ],
)
def test_configuration_that_is_none(text, match):
    offer = Offer(dictionaries={"d": MAPPER}, networks={}, imaging=AS_STORED)
    with pytest.raises(InputError) as e:
        offer.chosen([text])
    assert match in str(e.value)
    assert len(str(e.value)) < 300
