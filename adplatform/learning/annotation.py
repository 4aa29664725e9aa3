"""Which ads people should label next, and the classifier that their labels train: the order of the review queue."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from django.db import transaction

from adplatform.campaigns import labelling
from adplatform.campaigns.labelling import BAD, GOOD, Question
from adplatform.campaigns.models import AnnotationTask, Creative, Status
from adplatform.learning.models import CreativeRating, RatingModel

Sampling = AnnotationTask.Sampling
SAMPLE = 50


@dataclass(frozen=True, slots=True)
class Rated:
    """What `rate` did: `labels` were there, `rated` ads got a rating (none where the classifier knows nothing)."""

    labels: int
    rated: int
    model: RatingModel | None
    words: str


def sample(question: str, sampling: str, *, seed: int, size: int = SAMPLE) -> list[int]:
    """Primary keys of ads to label. Ties, and what has no score, fall at random."""
    said = labelling.verdicts(question)
    ads = list(Creative.objects.exclude(status=Status.ARCHIVED).order_by("pk").values_list("pk", flat=True))
    random.Random(seed).shuffle(ads)
    bad = (
        dict(CreativeRating.objects.values_list("creative_id", "bad")) if question == Question.QUALITY else {}
    )
    if sampling == Sampling.DISAGREEING:
        disputed = {pk: value for pk in ads if (value := _dispute(said.get(pk), bad.get(pk))) > 0}
        return sorted(disputed, key=lambda pk: -disputed[pk])[:size]
    new = [pk for pk in ads if pk not in said]
    if sampling == Sampling.UNCERTAIN:
        new.sort(key=lambda pk: abs(bad.get(pk, 1.0) - 0.5))
    return new[:size]


def _dispute(said: Counter[str] | None, bad: float | None) -> float:
    """How far people are apart, or the classifier from them: 0 (nobody, or agreed) to 1."""
    if not said:
        return 0.0
    people = 1 - max(said.values()) / said.total()
    if bad is None or not said[GOOD] + said[BAD]:
        return people
    return max(people, abs(bad - said[BAD] / (said[GOOD] + said[BAD])) - 0.5)


def rate(*, at: datetime, dry_run: bool = False) -> Rated:
    """Train the classifier on all quality labels, and rate every ad if it beats the share of bad ones alone."""
    from adplatform.learning import embeddings
    from ml.quality import labels as learning

    known = _decided(labelling.verdicts(Question.QUALITY))
    texts = {one.pk: one.text for one in Creative.objects.filter(pk__in=known)}
    vectors = embeddings.vectors(list(texts.values()))
    rows = embeddings.has_vector(vectors)
    bad = np.array([known[pk] for pk in texts], bool)[rows]
    if not learning.is_enough(bad):
        least = f"{learning.FEWEST_LABELS} with {learning.FEWEST_OF_A_CLASS} of each kind"
        return Rated(len(bad), 0, None, f"{len(bad):,} ads are labelled good or bad; {least} are needed.")
    model = learning.fit_labels(vectors[rows], bad)
    figures = "AUC {auc:.2f}, log loss {log_loss:.3f} beside {base_log_loss:.3f}".format(**model.metrics)
    if not model.is_useful or dry_run:
        verb = "Would rate" if model.is_useful else "Nothing is rated: the classifier does not beat chance"
        return Rated(len(bad), 0, None, f"{len(bad):,} labels. {verb} ({figures}).")
    ads = {one.pk: one.text for one in Creative.objects.exclude(status=Status.ARCHIVED)}
    rated = embeddings.vectors(list(ads.values()))
    has = embeddings.has_vector(rated)
    chances = model.probability(rated[has])
    pks = [pk for pk, one in zip(ads, has, strict=True) if one]
    stored = _store(
        dict(zip(pks, chances.tolist(), strict=True)),
        RatingModel(
            trained_at=at,
            labels=len(bad),
            encoder=embeddings.encoder().id,
            metrics=model.metrics,
            weights=[*model.weights.tolist(), model.bias],
        ),
    )
    return Rated(len(bad), len(pks), stored, f"{len(pks):,} ads rated from {len(bad):,} labels ({figures}).")


@transaction.atomic
def _store(bad: Mapping[int, float], model: RatingModel) -> RatingModel:
    model.save()
    CreativeRating.objects.all().delete()
    CreativeRating.objects.bulk_create(
        [CreativeRating(creative_id=pk, model=model, bad=value) for pk, value in bad.items()],
        batch_size=2_000,
    )
    return model


def _decided(said: Mapping[int, Counter[str]]) -> dict[int, bool]:
    """Ads that more people call bad than good, or the other way round."""
    return {pk: one[BAD] > one[GOOD] for pk, one in said.items() if one[BAD] != one[GOOD]}
