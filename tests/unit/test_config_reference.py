"""docs/reference/variables.md is what the models say."""

from pathlib import Path

import pytest

from stackpin.config.crm import CrmSettings
from stackpin.config.infracore import InfracoreGate
from stackpin.config.load import load
from stackpin.config.portal import PortalSettings
from stackpin.config.reference import render

PAGE = Path(__file__).parents[2] / "docs/reference/variables.md"


def test_page_is_current():
    assert PAGE.read_text() == render(), "python -m stackpin.config.reference > " + str(PAGE)


@pytest.mark.parametrize(
    ("model", "prefix"),
    [(CrmSettings, "crm_"), (PortalSettings, "portal_"), (InfracoreGate, "infracore_")],
)
def test_every_variable_has_a_meaning_and_an_example_that_loads(model, prefix):
    data = {}
    for name, info in model.model_fields.items():
        if name not in model.also:
            assert info.description, name
            assert f"`{prefix}{name}`" in render()
            if info.examples:
                data[prefix + name] = info.examples[0]
    assert load(model, prefix, data, "h1")
