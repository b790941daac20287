"""`python -m openmmnnp`."""

from .cli import main

raise SystemExit(main())
