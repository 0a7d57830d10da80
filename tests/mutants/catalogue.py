"""Every known bug of other tools that shopperd's tests must notice."""

from __future__ import annotations

from tests.mutants import acting, deciding, seeing
from tests.mutants.mutant import Mutant

MUTANTS: tuple[Mutant, ...] = (*seeing.MUTANTS, *deciding.MUTANTS, *acting.MUTANTS)
