from __future__ import annotations

import pytest

from superionic.errors import AnalysisError
from superionic.transport.estimate import count_like_estimate
from superionic.transport.nernst_einstein import ionic_conductivity, nernst_einstein

SETTINGS = {"n_ions": 24, "charge": 1.0, "volume_A3": 1800.0, "temperature_K": 300.0}


def test_number_by_hand():
    # N z² e² D / (V k_B T) in SI: D = 1e-2 Å²/ps = 1e-10 m²/s
    expected = 24 * (1.602176634e-19) ** 2 * 1e-10 / (1800e-30 * 1.380649e-23 * 300.0) / 100.0
    sigma = nernst_einstein(count_like_estimate(1e-2, 1e-6), **SETTINGS)
    assert sigma.value == pytest.approx(expected, rel=1e-9)
    assert sigma.error / sigma.value == pytest.approx(0.1, rel=1e-3)
    assert ionic_conductivity(count_like_estimate(1e-2, 1e-6), **SETTINGS) == sigma


@pytest.mark.parametrize("change", [{"n_ions": 0}, {"volume_A3": -1.0}, {"temperature_K": 0.0}, {"charge": 0.0}])
def test_wrong_input(change):
    with pytest.raises(AnalysisError):
        nernst_einstein(count_like_estimate(1e-2, 1e-6), **(SETTINGS | change))
