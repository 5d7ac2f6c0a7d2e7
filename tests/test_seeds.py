"""Noise that a seed decides."""

from __future__ import annotations

import math

import pytest
import scipy.stats
import torch

from srkit import seeds

MANY = torch.arange(64)
DRAWS = [seeds.uniform, seeds.normal]


@pytest.mark.parametrize("draw", DRAWS)
def test_noise_knows_neither_batch_nor_order(draw: object) -> None:
    assert callable(draw)
    together = draw(MANY, (3, 5, 7))
    assert together.shape == (64, 3, 5, 7)
    assert together.dtype == torch.float32
    order = torch.randperm(64)
    assert torch.equal(draw(MANY[order], (3, 5, 7)), together[order])
    for seed in (0, 17, 63):
        assert torch.equal(draw(MANY[seed : seed + 1], (3, 5, 7))[0], together[seed])


def test_a_longer_noise_begins_with_the_shorter() -> None:
    assert torch.equal(seeds.uniform(MANY, (50,)), seeds.uniform(MANY, (100,))[:, :50])


@pytest.mark.parametrize(("draw", "law"), [(seeds.uniform, "uniform"), (seeds.normal, "norm")])
@pytest.mark.parametrize("keys", [MANY, MANY - 32, MANY * 2**40, seeds.derive(MANY, 1)])
def test_noise_has_the_distribution_it_claims(draw: object, law: str, keys: torch.Tensor) -> None:
    assert callable(draw)
    values = draw(keys, (2000,)).double()
    mean, variance = {"uniform": (0.5, 1 / 12), "norm": (0.0, 1.0)}[law]
    assert values.mean().item() == pytest.approx(mean, abs=4 * math.sqrt(variance / 128_000))
    assert values.std().item() == pytest.approx(math.sqrt(variance), rel=0.01)
    # Over everything, and over the first value of each seed: neighbours must not be alike.
    assert scipy.stats.kstest(values.flatten().numpy(), law).pvalue > 1e-3
    assert scipy.stats.kstest(values[:, 0].numpy(), law).pvalue > 1e-3


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    return torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1].abs().item()


@pytest.mark.parametrize("draw", DRAWS)
def test_streams_seeds_and_neighbours_are_independent(draw: object) -> None:
    assert callable(draw)
    noise = [draw(MANY, (1000,), stream) for stream in range(4)]
    limit = 4 / math.sqrt(64_000)
    for i in range(4):
        for j in range(i):
            assert correlation(noise[i], noise[j]) < limit
    assert correlation(noise[0][1:], noise[0][:-1]) < limit
    assert correlation(noise[0][:, 1:], noise[0][:, :-1]) < limit


def test_keys_give_new_seeds_and_their_order_matters() -> None:
    derived = [
        seeds.derive(MANY),
        seeds.derive(MANY, 0),
        seeds.derive(MANY, 1),
        seeds.derive(MANY, 1, 2),
        seeds.derive(MANY, 2, 1),
    ]
    assert torch.equal(derived[0], MANY)
    assert torch.cat(derived).unique().numel() == 5 * 64
    assert torch.equal(seeds.derive(MANY, torch.full((64,), 2), 1), derived[4])
    assert all(keys.dtype == torch.int64 for keys in derived)


def test_golden_values() -> None:
    # A change here changes every degraded image, and so every published figure.
    key = torch.tensor([0, 1, -5])
    torch.testing.assert_close(
        seeds.uniform(key, (3,)), torch.tensor(GOLDEN_UNIFORM), rtol=0, atol=0
    )
    torch.testing.assert_close(
        seeds.normal(key, (3,), 1), torch.tensor(GOLDEN_NORMAL), rtol=1e-6, atol=1e-6
    )
    assert seeds.derive(key, 7, 8).tolist() == GOLDEN_KEYS


GOLDEN_UNIFORM = [
    [0.203102797, 0.705485582, 0.5689224],
    [0.0399226248, 0.655968189, 0.0775977075],
    [0.370639771, 0.204382628, 0.592162013],
]
GOLDEN_NORMAL = [
    [1.10607827, -0.254881322, -0.648322523],
    [0.0160632785, 0.404171795, 1.43485773],
    [-1.28867793, 0.199843079, -0.00750792213],
]
GOLDEN_KEYS = [6177276575243172241, 4122177751356214217, 2503834417667368252]


def unshift(value: int, bits: int) -> int:
    """Solve ``value == x ^ (x >> bits)`` for x, in 64 bits."""
    result = value
    for _ in range(64 // bits):
        result = value ^ (result >> bits)
    return result


def unmix(value: int) -> int:
    """Invert SplitMix64's finaliser."""
    modulus = 1 << 64
    value = unshift(value, 31) * pow(0x94D049BB133111EB, -1, modulus) % modulus
    value = unshift(value, 27) * pow(0xBF58476D1CE4E5B9, -1, modulus) % modulus
    return unshift(value, 30)


@pytest.mark.parametrize("bits", [0, 1, (1 << 64) - 1, (1 << 64) - (1 << 40), 1 << 63])
def test_uniform_noise_is_never_zero_or_one_even_at_the_rarest_seeds(bits: int) -> None:
    # The seed whose first value has exactly these 64 bits: the hash is a bijection.
    golden = 0x9E3779B97F4A7C15
    seed = (unmix(unmix(unmix(bits))) - golden) % (1 << 64)
    keys = torch.tensor([seed - (1 << 64) if seed >> 63 else seed])
    value = seeds.uniform(keys, (1,)).item()
    assert value == pytest.approx(bits / 2**64, abs=1e-7)
    assert 0 < value < 1
    assert torch.isfinite(seeds.normal(keys, (1,))).all()
