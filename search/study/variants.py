"""The variants of a study: the networks, with their data, that its space lets trials choose from.

A variant is one combination of those choices that decide the dense network. A study whose space
names none has one variant.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

from pruning.budget import Budget
from pruning.data import Dataset
from search.study.checks import require_data, require_start
from search.study.factory import SweepFactory
from search.study.space import variant_of
from search.study.study import Study
from search.study.study_record import VariantFacts


@final
@dataclass(frozen=True, slots=True)
class Variant:
    """One network and its data, as its study was created with them. `key` is that of its dense
    network.
    """

    facts: VariantFacts
    factory: SweepFactory
    key: str


@final
class Variants:
    """The variants of a study; each is built, and checked to be as it was, when it is needed.

    Variants that differ in their networks alone share one copy of the data.
    """

    def __init__(self, study: Study) -> None:
        self._study = study
        self._built: dict[str, Variant] = {}
        self._data: dict[str, Dataset] = {}

    @property
    def only(self) -> Variant | None:
        """The variant of a study that has one; None where there are several."""
        known = self._study.facts.all_variants
        return self._variant(known[0]) if len(known) == 1 else None

    def first(self) -> Variant:
        """One of the variants, for what does not depend on the choice.

        Raises:
            StudyError: its code, weights or data have changed since the study was created.
        """
        return self._variant(self._study.facts.all_variants[0])

    def all(self) -> list[Variant]:
        """Every variant."""
        return [self._variant(facts) for facts in self._study.facts.all_variants]

    def of(self, params: Mapping[str, Any]) -> Variant:
        """The variant that a trial's hyperparameters name.

        Raises:
            StudyError: the model's code, its weights or the data have changed since the study
                was created.
        """
        return self._variant(facts_of(self._study, params))

    def _variant(self, facts: VariantFacts) -> Variant:
        if facts.name not in self._built:
            self._built[facts.name] = self._new(facts)
        return self._built[facts.name]

    def _new(self, facts: VariantFacts) -> Variant:
        study = self._study
        spec = study.spec.replaced(facts.params)
        source = json.dumps(spec["data"], sort_keys=True)
        factory = SweepFactory(spec, data=self._data.get(source))
        self._data[source] = factory.data
        require_data(study, factory.data.digest, facts.data_digest)
        key = factory.dense_key(network=study.facts.start_has_network)
        require_start(study, key, facts.dense_key)
        return Variant(facts, factory, key)


def facts_of(study: Study, params: Mapping[str, Any]) -> VariantFacts:
    """What is known of the variant that a trial's hyperparameters name."""
    chosen = variant_of(study.spec["space"], params)
    return next(facts for facts in study.facts.all_variants if facts.params == chosen)


def able(study: Study, budget: Budget) -> list[VariantFacts]:
    """The variants of which some widths meet a budget of the study."""
    known = study.facts.all_variants
    if len(known) == 1:
        return list(known)
    if study.places_budgets:
        return [facts for facts in known if _meets(study, facts, budget)]
    added = study.notes().unreachable
    return [
        facts
        for place, facts in enumerate(known)
        if budget not in (*facts.out_of_reach, *added.get(place, ()))
    ]


def _meets(study: Study, facts: VariantFacts, budget: Budget) -> bool:
    """Whether a variant meets a budget between the first ones: it meets one that is no looser."""
    met = [first for first in study.facts.budgets if first not in facts.out_of_reach]
    return any(first.intersect(budget) == first for first in met)
