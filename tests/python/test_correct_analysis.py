"""Estimators of free energy differences on distributions for which the answer is known."""

from __future__ import annotations

import logging
import sys

import numpy as np
import pytest

pymbar = pytest.importorskip("pymbar", reason="needs pymbar: pip install 'openmm-nnp[correct]'")

from openmmnnp.correct import analysis  # noqa: E402
from openmmnnp.correct.analysis import DRIFT, GAS_CONSTANT, OVERLAP, SAMPLES, bar, mbar  # noqa: E402

T = 310.0
KT = GAS_CONSTANT * T


def works(difference: float, sigma: float, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian works (kJ/mol) that obey Crooks' theorem: the mean work is the difference plus sigma^2/2kT."""
    rng = np.random.default_rng(seed)
    lost = sigma**2 / (2 * KT)
    return difference + rng.normal(lost, sigma, count), -difference + rng.normal(lost, sigma, count)


def gaps(difference: float, sigma: float, lambdas: np.ndarray, count: int, seed: int) -> list[np.ndarray]:
    """Gaussian gaps: one of width sigma at lambda = 0 moves by -sigma^2/kT until lambda = 1."""
    rng = np.random.default_rng(seed)
    return [difference + sigma**2 / KT * (0.5 - x) + rng.normal(0, sigma, count) for x in lambdas]


def check_many(values: list[analysis.Estimate], exact: float) -> None:
    """Without bias, and errors that are as large as they say."""
    assert not any(v.doubt for v in values)
    scores = np.array([(v.value - exact) / v.error for v in values])
    assert abs(scores.mean()) < 4 / np.sqrt(len(scores))
    assert 0.7 < scores.std() < 1.3


@pytest.mark.parametrize("exact", [7.0, -1.2e6])  # the second as with absolute energies
def test_bar_of_gaussian_works(exact: float) -> None:
    check_many([bar(*works(exact, 1.5 * KT, 80, seed), T) for seed in range(60)], exact)


@pytest.mark.parametrize("exact", [7.0, -1.2e6])
def test_mbar_of_gaussian_gaps(exact: float) -> None:
    lambdas = np.linspace(0, 1, 4)
    check_many([mbar(list(lambdas), gaps(exact, 1.8 * KT, lambdas, 80, seed), T) for seed in range(40)], exact)


def test_two_states_of_mbar_are_bar() -> None:
    forward, reverse = works(3.0, 1.2 * KT, 101, 1)
    one, two = bar(forward, reverse, T), analysis._mbar([0.0, 1.0], [forward, -reverse], T)
    assert two[0] == pytest.approx(one.value, abs=1e-6)
    np.testing.assert_allclose(two[2], one.overlap, atol=1e-6)


@pytest.mark.filterwarnings("ignore:Unknown solver options")
def test_the_overlap_matrix_is_that_of_pymbar() -> None:
    lambdas = np.linspace(0, 1, 3)
    series = [g[:: k + 1] for k, g in enumerate(gaps(0.0, 2 * KT, lambdas, 120, 3))]
    u = lambdas[:, None] * np.concatenate(series)[None] / KT
    logging.getLogger("pymbar").setLevel(logging.CRITICAL)
    oracle = pymbar.MBAR(u, [len(g) for g in series]).compute_overlap()["matrix"]
    np.testing.assert_allclose(analysis._mbar(list(lambdas), series, T)[2], oracle, atol=1e-6)


def test_identical_ensembles_overlap_by_half() -> None:
    found = bar(*works(5.0, 1e-3, 50, 2), T)
    np.testing.assert_allclose(found.overlap, 0.5, atol=1e-3)
    assert found.value == pytest.approx(5.0, abs=1e-3)


@pytest.mark.parametrize("sigma", [4.0, 20.0, 1e4])
def test_no_overlap(sigma: float) -> None:
    found = bar(*works(5.0, sigma * KT, 60, 1), T)
    assert found.doubt and found.doubt.cause == OVERLAP
    assert "the works of both directions overlap by" in found.doubt.text and "0.03 is needed" in found.doubt.text
    found = mbar([0.0, 0.5, 1.0], gaps(5.0, 2.5 * sigma * KT, np.array([0, 0.5, 1]), 60, 1), T)
    assert found.doubt and found.doubt.cause == OVERLAP
    assert found.doubt.text.startswith("the states ")


def test_correlated_works_count_as_fewer() -> None:
    forward, reverse = works(0.0, 1.0 * KT, 40, 5)
    once = bar(forward, reverse, T)
    often = bar(np.repeat(forward, 10), np.repeat(reverse, 10), T)
    assert often.value == pytest.approx(once.value, abs=1e-6)
    assert 0.6 * once.error < often.error < 1.6 * once.error
    assert max(often.independent) < 80


def test_few_samples() -> None:
    found = bar(*works(0.0, 0.5 * KT, 9, 1), T)
    assert found.doubt and found.doubt.cause == SAMPLES
    assert "independent samples of a state, and 10 are needed" in found.doubt.text


def test_halves_that_differ() -> None:
    forward, reverse = works(0.0, 1.0 * KT, 4000, 4)
    drift = np.where(np.arange(4000) < 2000, 0.0, 0.3 * KT)
    found = bar(forward + drift, reverse - drift, T)
    assert found.doubt and found.doubt.cause == DRIFT
    assert found.doubt.text.startswith("the two halves of the samples differ by ")
    order = np.random.default_rng(1).permutation(4000)
    assert bar((forward + drift)[order], (reverse - drift)[order], T).doubt is None


def test_a_model_that_is_mm() -> None:
    rounding = np.random.default_rng(3).normal(0, 1e-12, 50)
    found = bar(5.0 + rounding, -5.0 + rounding, T)
    assert found.doubt is None and found.value == pytest.approx(5.0, abs=1e-9) and found.error < 1e-3
    found = mbar([0.0, 0.5, 1.0], [5.0 + rounding] * 3, T)
    assert found.doubt is None and found.value == pytest.approx(5.0, abs=1e-9) and found.error < 1e-3


@pytest.mark.parametrize("widths", [(1.0, 1.0), (1.0, 1.6)])
def test_gaussians_cross_where_their_densities_are_equal(widths: tuple[float, float]) -> None:
    rng = np.random.default_rng(8)
    forward, reverse = rng.normal(3.0, widths[0], 400), rng.normal(1.0, widths[1], 400)
    found = bar(forward, reverse, T).crossing
    assert found is not None and -reverse.mean() < found < forward.mean()

    def density(x: float, mean: float, width: float) -> float:
        return np.exp(-0.5 * ((x - mean) / width) ** 2) / width

    there, back = density(found, forward.mean(), forward.std()), density(found, -reverse.mean(), reverse.std())
    assert there == pytest.approx(back, rel=1e-6)


def test_pymbar_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pymbar", None)
    with pytest.raises(ImportError, match=r"^corrections need pymbar.*pip install 'openmm-nnp\[correct\]'$"):
        bar(*works(0.0, KT, 20, 1), T)
