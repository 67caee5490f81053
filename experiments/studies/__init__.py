"""The studies by name. No JAX here."""

from experiments.studies import data, models, tests
from experiments.study import Study

STUDIES: dict[str, Study] = {
    study.name: study for study in (*data.STUDIES, *tests.STUDIES, *models.STUDIES)
}
