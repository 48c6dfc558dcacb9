"""`python -m intact` is the `intact` command."""

from intact.cli import main

main()
