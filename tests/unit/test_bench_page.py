"""The page of benchmarks: one section goes, the others stay as they are."""

from tests.bench.page import INTRODUCTION, replaced

OLD = "# Benchmarks\n\nOld words.\n\n## A\n\n| a | 1 |\n\n## B\n\n| b | 2 |\n"


def test_one_section_is_replaced() -> None:
    page = replaced(OLD, ["## A", "", "| a | 3 |", "", "Measured."])
    assert page == f"{INTRODUCTION}\n## A\n\n| a | 3 |\n\nMeasured.\n\n## B\n\n| b | 2 |\n"
    assert replaced(page, ["## A", "", "| a | 3 |", "", "Measured."]) == page


def test_a_new_one_goes_to_the_end() -> None:
    page = replaced(OLD, ["## AB", "", "| c | 4 |"])
    assert page.endswith("## B\n\n| b | 2 |\n\n## AB\n\n| c | 4 |\n")
    assert "| a | 1 |" in page
