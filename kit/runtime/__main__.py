import sys

from kit.runtime.label import main

sys.exit(main())
