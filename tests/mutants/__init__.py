"""Rules broken on purpose: each mutant is one change of the code that the tests have to notice.

python -m tests.mutants leadership          # every mutant of a package; exit status 1 if one survives
python -m tests.mutants detection --only votes --verbose
"""
