"""Known bugs of other tools, each put into shopperd by one small switch; the tests must notice every one.

Belongs here: the catalogue of those bugs, and what plays it (`python -m tests.mutants`). Does not: mutations that a
program makes up. A mutant is somebody's real incident, so a survivor is a hole through which it would come back.
"""
