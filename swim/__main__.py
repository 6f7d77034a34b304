"""`python -m swim` is the `swim` command."""

from swim.cli import main

main()
