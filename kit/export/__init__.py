"""A network to packaged files that the runtime has scored.

The exporter converts, packages and scores; representative images, the screening form and heat maps
belong to it. It stands on converters, kit.data and kit.evaluation, and does not know how a network
was trained.
"""
