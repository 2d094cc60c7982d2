"""The combinations of a grid: every backbone at every width and resolution that it has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kit.training.backbones import BACKBONES, BackboneChoice, choose
from kit.training.defaults import DEFAULT_ALPHA, DEFAULT_BACKBONE


@dataclass(frozen=True)
class Combination:
    """One training of a sweep: a network, whatever it is quantised to.

    Attributes:
        choice: backbone, alpha and input resolution.
    """

    choice: BackboneChoice

    @property
    def name(self) -> str:
        """Name of its run folder, such as `mobilenet_v1_0.25_128`."""
        alpha = "" if self.choice.alpha is None else f"_{self.choice.alpha:g}"
        return f"{self.choice.name}{alpha}_{self.choice.input_resolution}"


def combinations(
    backbones: Sequence[str], alphas: Sequence[float], input_resolutions: Sequence[int]
) -> tuple[tuple[Combination, ...], tuple[str, ...]]:
    """The grid, in the order given, each combination once.

    Backbones differ in the alphas and resolutions that they have: what one of them lacks is left
    out, as long as another has it.

    Args:
        backbones: keys of kit.training.backbones.BACKBONES.
        alphas: width multipliers; none: each backbone's default. A backbone that has no width
            multiplier stands in the grid once, whatever is given.
        input_resolutions: in pixels; none: each backbone's default.

    Returns:
        The combinations, and a sentence for each one that was left out.

    Raises:
        ValueError: an unknown backbone, or a value that no backbone of the grid has.
    """
    found: dict[str, Combination] = {}
    refused: dict[tuple[str, float | int | None], ValueError] = {}
    taken: set[tuple[str, float | int | None]] = set()
    left_out: list[str] = []
    sides: Sequence[int | None] = input_resolutions or (None,)
    for backbone in dict.fromkeys(backbones):
        for alpha in _alphas(backbone, alphas):
            for side in sides:
                try:
                    combination = Combination(choose(backbone, alpha, side))
                except ValueError as error:
                    left_out.append(str(error))
                    refused.update({("alpha", alpha): error, ("input resolution", side): error})
                    continue
                found[combination.name] = combination
                taken |= {("alpha", alpha), ("input resolution", side)}
    for alpha in alphas:
        if not {("alpha", alpha)} & (taken | refused.keys()):
            choose(backbones[0], alpha)  # raises: none of them has a width multiplier
    for value, refusal in refused.items():
        if value not in taken:
            raise refusal
    return tuple(found.values()), tuple(dict.fromkeys(left_out))


def _alphas(backbone: str, alphas: Sequence[float]) -> Sequence[float | None]:
    choose(backbone)  # raises for an unknown one
    if set(BACKBONES[backbone].feature_widths) == {None}:
        return (None,)
    return alphas or ((DEFAULT_ALPHA if backbone == DEFAULT_BACKBONE else None),)
