"""The studies by name. No JAX here."""

from experiments.studies import data, insides, models, tests
from experiments.study import Study

STUDIES: dict[str, Study] = {
    study.name: study for part in (data, tests, models, insides) for study in part.STUDIES
}
