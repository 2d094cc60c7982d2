import sys

from kit.device.command import main

sys.exit(main())
