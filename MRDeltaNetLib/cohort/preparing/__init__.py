"""Every case of a cohort, through gate, alignment and preprocessing, into a cache of memory-mapped crops.

batch        prepare_cohort and load_prepared
cases        one case: its task, its key, its crop
cache        the folder: crops, states, the table of reasons
beds         which tumour beds nobody drew
recognition  which cases a model was trained on
local, dask  where cases are prepared; supervision and child: the process that prepares them
"""

from MRDeltaNetLib.cohort.preparing.batch import TIMEOUT_S, CasesFailed, PreparedCohort, Summary, load_prepared, prepare_cohort
from MRDeltaNetLib.cohort.preparing.cache import Failure

__all__ = ["TIMEOUT_S", "CasesFailed", "Failure", "PreparedCohort", "Summary", "load_prepared", "prepare_cohort"]
