"""A network to packaged files that the runtime has scored.

The exporter converts, packages and scores; representative images, gates, the screening form and
heat maps belong to it. The package stands on converters, kit.data and kit.evaluation, and does not
know how a network was trained.
"""

from typing import TYPE_CHECKING

from kit.lazy import exports

if TYPE_CHECKING:
    from kit.export.exported import Exported as Exported
    from kit.export.exported import Gates as Gates
    from kit.export.exporter import Exporter as Exporter
    from kit.export.heat_maps import HeatMaps as HeatMaps
    from kit.export.scoring_set import ScoringSet as ScoringSet

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "Exported": "kit.export.exported",
        "Exporter": "kit.export.exporter",
        "Gates": "kit.export.exported",
        "HeatMaps": "kit.export.heat_maps",
        "ScoringSet": "kit.export.scoring_set",
    },
)
