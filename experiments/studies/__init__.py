"""The studies by name. No JAX here."""

from experiments.studies import data, failures, insides, models, rivals, tests
from experiments.study import Study

STUDIES: dict[str, Study] = {
    study.name: study
    for part in (data, tests, rivals, models, insides, failures)
    for study in part.STUDIES
}
