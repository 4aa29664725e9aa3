"""Operators label a sample, each for himself; labels train a classifier that says which ads need a look first."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from django.test import Client

from adplatform.accounts.models import User
from adplatform.campaigns import labelling
from adplatform.campaigns.labelling import cohens_kappa
from adplatform.campaigns.models import Annotation, AnnotationTask, Creative
from adplatform.learning import annotation
from adplatform.learning.models import CreativeRating, RatingModel
from ml.quality.labels import fit_labels, is_enough
from tests import factories
from tests.factories import NOON

pytestmark = pytest.mark.django_db


@pytest.fixture
def op(client: Client) -> User:
    operator = factories.operator(name="First")
    client.force_login(operator)
    return operator


def task(op: User, ads: list[Creative], question: str = "quality") -> AnnotationTask:
    return labelling.create_task(
        user=op, question=question, sampling="random", creatives=[ad.pk for ad in ads], at=NOON
    )


def say(client: Client, chosen: AnnotationTask, label: str, **headers: Any) -> Any:
    item = client.get(f"/console/labels/{chosen.public_id}/").context["item"]
    return client.post(
        f"/console/labels/{chosen.public_id}/label/", {"item": item.pk, "label": label}, **headers
    )


def test_a_sample_is_drawn_labelled_and_taken_back(client: Client, op: User) -> None:
    ads = [factories.creative() for _ in range(3)]
    answer = client.post("/console/labels/new/", {"question": "quality", "sampling": "random"}, follow=True)
    assert (answer.context["done"], answer.context["total"]) == (0, 3)
    chosen = AnnotationTask.objects.get()
    assert {item.creative for item in chosen.items.all()} == set(ads)
    card = say(client, chosen, "good", headers={"HX-Request": "true"})
    assert (card.templates[0].name, card.context["done"]) == ("console/_annotation_card.html", 1)
    say(client, chosen, "bad")
    client.post(f"/console/labels/{chosen.public_id}/undo/")
    assert [one.label for one in Annotation.objects.all()] == ["good"]
    assert client.get(f"/console/labels/{chosen.public_id}/").context["item"].place == 2


def test_a_label_that_is_none_changes_nothing(client: Client, op: User) -> None:
    chosen = task(op, [factories.creative()])
    say(client, chosen, "adult")  # of the other question
    assert not Annotation.objects.exists()


def test_without_ads_there_is_no_sample(client: Client, op: User) -> None:
    answer = client.post(
        "/console/labels/new/", {"question": "quality", "sampling": "disagreeing"}, follow=True
    )
    assert "There is no ad to sample." in answer.content.decode()
    assert not AnnotationTask.objects.exists()


def test_two_people_agree_beyond_chance(client: Client, op: User) -> None:
    chosen, other = task(op, [factories.creative() for _ in range(4)]), factories.operator(name="Second")
    for label in ("good", "good", "bad", "bad"):
        say(client, chosen, label)
    assert labelling.agreements(chosen) == []
    client.force_login(other)
    for label in ("good", "good", "bad", "good"):
        say(client, chosen, label)
    (pair,) = labelling.agreements(chosen)
    assert (pair.first, pair.second, pair.ads, pair.same, pair.kappa) == (op, other, 4, 0.75, 0.5)
    lines = client.get(f"/console/labels/{chosen.public_id}/labels.csv").getvalue().decode().splitlines()
    assert len(lines) == 1 + 8
    assert lines[0].split(",")[0].endswith("question")


def test_cohens_kappa() -> None:
    # Wikipedia's example: 20 yes/yes, 5 yes/no, 10 no/yes, 15 no/no: observed 0.7, expected 0.5.
    pairs = [("y", "y")] * 20 + [("y", "n")] * 5 + [("n", "y")] * 10 + [("n", "n")] * 15
    assert cohens_kappa(pairs) == pytest.approx(0.4)
    assert cohens_kappa([("y", "y")]) is None


def test_what_is_drawn_next(op: User) -> None:
    ads = [factories.creative() for _ in range(4)]
    model = RatingModel.objects.create(trained_at=NOON, labels=50, encoder="e", weights=[])
    for ad, bad in zip(ads, (0.9, 0.52, 0.1, 0.45), strict=True):
        CreativeRating.objects.create(creative_id=ad.pk, model=model, bad=bad)
    assert annotation.sample("quality", "uncertain", seed=0, size=2) == [ads[1].pk, ads[3].pk]
    chosen = task(op, ads)
    labelling.annotate(chosen.items.get(creative=ads[0]), user=op, label="good", at=NOON)
    labelling.annotate(chosen.items.get(creative=ads[2]), user=op, label="good", at=NOON)
    assert annotation.sample("quality", "disagreeing", seed=0) == [ads[0].pk]  # people: good, classifier: bad
    assert set(annotation.sample("quality", "random", seed=0)) == {ads[1].pk, ads[3].pk}


def test_a_classifier_of_labels_is_judged_on_folds_it_has_not_seen() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(120, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    bad = vectors[:, 0] + rng.normal(size=120) * 0.1 > 0
    told, chance = fit_labels(vectors, bad), fit_labels(vectors, rng.random(120) > 0.5)
    assert told.metrics["auc"] > 0.85
    assert told.is_useful
    assert chance.metrics["auc"] < 0.65
    assert not is_enough(bad[:49])
    assert not is_enough(np.arange(200) < 9)


def test_labels_put_bad_ads_first_in_the_review_queue(client: Client, op: User) -> None:
    texts = {
        "good": ["Winter tyres fitted while you wait", "A cast iron pan for life", "Garden tools that last"],
        "bad": [
            "You won ONE million, click now!!!",
            "Doctors hate this trick to lose fat",
            "Get rich tonight, no risk!!!",
        ],
    }
    numbers = range(1, 11)
    ads = {
        label: [factories.creative(headline=f"{text} {n}", body="") for text in lines for n in numbers]
        for label, lines in texts.items()
    }
    assert annotation.rate(at=NOON).words.startswith("0 ads are labelled good or bad; 50 with 10")
    chosen = task(op, ads["good"] + ads["bad"])
    for item in chosen.items.select_related("creative"):
        label = "good" if item.creative in ads["good"] else "bad"
        labelling.annotate(item, user=op, label=label, at=NOON)
    fine = factories.creative(headline="A lawn mower without noise", body="", review=Creative.Review.PENDING)
    scam = factories.creative(
        headline="Win millions tonight, click!!!", body="", review=Creative.Review.PENDING
    )
    done = annotation.rate(at=NOON)
    assert (done.labels, done.rated) == (60, 62), done.words
    page = client.get("/console/review/")
    assert list(page.context["page_obj"]) == [scam, fine]
    assert page.content.decode().count("Needs a look") == 1


def test_nobody_else_labels(client: Client, op: User) -> None:
    chosen = task(op, [factories.creative()])
    client.force_login(factories.member().user)
    assert client.get("/console/labels/").status_code == 404
    item = chosen.items.get()
    answer = client.post(f"/console/labels/{chosen.public_id}/label/", {"item": item.pk, "label": "good"})
    assert answer.status_code == 404
    assert not Annotation.objects.exists()
