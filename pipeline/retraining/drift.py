"""How far the scores of one model have drifted from those of another."""

from dataclasses import dataclass

import numpy as np

BINS = 10
# Of each bin, so that an empty one has a logarithm.
PSEUDO_COUNT = 0.5


@dataclass(frozen=True)
class Bins:
    """Two samples in the same bins: edges (B + 1,), shares (B,) of each, which sum to 1.

    The first and the last bin are open: their outer edges are the least and the largest value.
    """

    edges: np.ndarray
    expected: np.ndarray
    actual: np.ndarray


def binned(expected: np.ndarray, actual: np.ndarray, bins: int = BINS) -> Bins:
    """Bins at the quantiles of the first sample, which holds about as much in each of them.

    A value that several quantiles fall on has a bin of its own.

    Args:
        expected: values (N,), at least one.
        actual: values (M,), at least one.
        bins: how many.
    """
    quantiles = np.quantile(expected, np.linspace(0, 1, bins + 1)[1:-1])
    inner, times = np.unique(quantiles, return_counts=True)
    inner = np.sort(np.concatenate([inner, np.nextafter(inner[times > 1], np.inf)]))
    both = np.concatenate([expected, actual])

    def shares(values: np.ndarray) -> np.ndarray:
        # A value that lies on an edge belongs to the bin above.
        places = np.searchsorted(inner, values, side="right")
        counts = np.bincount(places, minlength=len(inner) + 1) + PSEUDO_COUNT
        return counts / counts.sum()

    edges = np.concatenate([[both.min()], inner, [both.max()]])
    return Bins(edges, shares(expected), shares(actual))


def population_stability(expected: np.ndarray, actual: np.ndarray, bins: int = BINS) -> float:
    """The population stability index: the sum over bins of (a - e) ln(a / e).

    Below 0.1 is taken for no change, above 0.25 for a large one: N. Siddiqi 2006, "Credit Risk
    Scorecards". It is the symmetric divergence of S. Kullback and R. A. Leibler 1951, "On
    information and sufficiency", between the shares of the bins.

    Args:
        expected: values (N,), at least one.
        actual: values (M,), at least one.
        bins: at quantiles of the first.
    """
    both = binned(expected, actual, bins)
    return float(np.sum((both.actual - both.expected) * np.log(both.actual / both.expected)))


def population_stability_p(index: float, one: int, other: int, bins: int = BINS) -> float:
    """How likely two independent samples of one distribution have such an index, or a larger one.

    Of samples of sizes n and m, index times n m / (n + m) has a chi-squared distribution with
    bins - 1 degrees of freedom: B. Yurdakul and J. Naranjo 2020, "Statistical properties of the
    population stability index", Journal of Risk Model Validation 14 (4). With less than ten values
    a bin, or where values that repeat leave fewer bins, it comes out too large and not too small.

    Args:
        index: ``population_stability`` of the two.
        one: the size of the first.
        other: of the other.
        bins: how many.
    """
    # As with the test below.
    from scipy.stats import chi2

    return float(chi2.sf(index * one * other / (one + other), bins - 1))


def kolmogorov_smirnov(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """The largest distance of two empirical distributions, 0..1, and its asymptotic p-value.

    The p-value is that of independent samples. It says little of many thousands of values, where
    any distance is significant: look at the distance, too.

    Args:
        one: values (N,), at least one.
        other: values (M,), at least one.
    """
    # It takes 0.7 s and 70 MB, and only this needs it.
    from scipy.stats import ks_2samp

    found = ks_2samp(one, other, method="asymp")
    return float(found.statistic), float(found.pvalue)
