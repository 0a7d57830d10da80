"""Known bugs of other tools, each put into shopperd by one small switch; the tests must notice every one.

Belongs here: the catalogue of those bugs, and what plays it (`python -m tests.mutants`). A mutant is somebody's real incident,
so a survivor is a hole through which it would come back. Changes that a program makes up are not in the catalogue: `score` makes
them of the one acting function, and of little else.
"""
