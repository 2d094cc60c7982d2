"""A model to a device: a folder for a Raspberry Pi, the phone app.

The package stands on kit.model, kit.runtime and converters.
"""

from kit.deploy.android import deploy_android
from kit.deploy.pi import deploy_pi

__all__ = ["deploy_android", "deploy_pi"]
