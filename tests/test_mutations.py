"""The list of guards stays true while the code moves on; that each test fails is `make mutants`' to show."""

import pytest

from tests.mutants import ROOT, mutants


@pytest.mark.parametrize("mutant", mutants(), ids=lambda mutant: mutant.guard[:40])
def test_a_guard_stands_once_in_its_file_and_its_test_exists(mutant):
    assert (ROOT / mutant.file).read_text().count(mutant.guard) == 1
    file, _, name = mutant.test.partition("::")
    assert f"def {name.split('[')[0]}(" in (ROOT / file).read_text()


def test_every_invariant_has_a_guard():
    assert {mutant.invariant[:2] for mutant in mutants()} == {f"I{number}" for number in range(1, 8)}
