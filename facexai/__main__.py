"""`python -m facexai`, and with it `torchrun -m facexai`: the command line."""

from facexai.cli import main

raise SystemExit(main())
