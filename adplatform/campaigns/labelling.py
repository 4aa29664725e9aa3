"""Labels that operators give to a sample of ads: tasks, the next ad, undo, agreement between two people.

Everybody labels the whole sample for himself and sees nobody else's labels, so that agreement means something.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations

from django.db import transaction
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from adplatform.accounts.models import User
from adplatform.campaigns.models import Annotation, AnnotationItem, AnnotationTask

Question = AnnotationTask.Question

GOOD, BAD, UNSURE = "good", "bad", "unsure"
# In the order of the keys 1, 2, 3…
LABELS = {
    Question.QUALITY: {
        GOOD: gettext_lazy("Good"),
        BAD: gettext_lazy("Bad"),
        UNSURE: gettext_lazy("Unsure"),
    },
    Question.POLICY: {
        "none": gettext_lazy("Breaks none"),
        "misleading": gettext_lazy("Misleading claim"),
        "shocking": gettext_lazy("Shocking or violent"),
        "adult": gettext_lazy("Adult content"),
        "health": gettext_lazy("Health claim"),
        "money": gettext_lazy("Money claim"),
        UNSURE: gettext_lazy("Unsure"),
    },
}
CSV_COLUMNS = ("question", "place", "creative", "headline", "body", "language", "annotator", "label", "at")


class AnnotationError(Exception):
    """A label or sample that cannot be, in a sentence a person can act on."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Two people who labelled the same ads. `kappa` is Cohen's; None where both always said the same one thing."""

    first: User
    second: User
    ads: int
    same: float
    kappa: float | None


@transaction.atomic
def create_task(
    *, user: User, question: str, sampling: str, creatives: Sequence[int], at: datetime
) -> AnnotationTask:
    """A task with this sample, in this order."""
    if not creatives:
        raise AnnotationError(_("There is no ad to sample. Choose another sampling, or wait for new ads."))
    task = AnnotationTask.objects.create(question=question, sampling=sampling, created_by=user, created_at=at)
    AnnotationItem.objects.bulk_create(
        AnnotationItem(task=task, creative_id=pk, place=place) for place, pk in enumerate(creatives, start=1)
    )
    return task


def next_item(task: AnnotationTask, user: User) -> AnnotationItem | None:
    """The first ad of the sample that this person has not labelled."""
    return (
        task.items.exclude(annotations__annotator=user)
        .select_related("creative__line_item__campaign__organisation")
        .order_by("place")
        .first()
    )


def done(task: AnnotationTask, user: User) -> int:
    """How many ads of the sample this person has labelled."""
    return Annotation.objects.filter(item__task=task, annotator=user).count()


def annotate(item: AnnotationItem, *, user: User, label: str, at: datetime) -> None:
    """Keep what this person says of this ad; a second label replaces the first."""
    if label not in LABELS[Question(item.task.question)]:
        raise AnnotationError(_("Choose one of the labels that the page shows."))
    Annotation.objects.update_or_create(item=item, annotator=user, defaults={"label": label, "at": at})


def undo(task: AnnotationTask, user: User) -> AnnotationItem | None:
    """Take back this person's newest label of the task; its ad comes again."""
    newest = (
        Annotation.objects.filter(item__task=task, annotator=user)
        .select_related("item")
        .order_by("-at", "-pk")
        .first()
    )
    if newest is None:
        return None
    newest.delete()
    return newest.item


def cohens_kappa(pairs: Sequence[tuple[str, str]]) -> float | None:
    """Agreement beyond chance of two people's labels: (observed - expected) / (1 - expected) (Cohen, 1960)."""
    if not pairs:
        return None
    size = len(pairs)
    observed = sum(one == other for one, other in pairs) / size
    first, second = Counter(one for one, _other in pairs), Counter(other for _one, other in pairs)
    expected = sum(first[label] * second[label] for label in first) / size**2
    return None if expected == 1 else (observed - expected) / (1 - expected)


def agreements(task: AnnotationTask) -> list[Agreement]:
    """Every two people who labelled the same ads."""
    said: dict[User, dict[int, str]] = {}
    for one in Annotation.objects.filter(item__task=task).select_related("annotator").order_by("pk"):
        said.setdefault(one.annotator, {})[one.item_id] = one.label
    found = []
    for first, second in combinations(said, 2):
        both = sorted(said[first].keys() & said[second].keys())
        pairs = [(said[first][item], said[second][item]) for item in both]
        if pairs:
            same = sum(one == other for one, other in pairs) / len(pairs)
            found.append(Agreement(first, second, len(pairs), same, cohens_kappa(pairs)))
    return found


def rows(task: AnnotationTask) -> Iterator[list[object]]:
    """The task's labels as rows of CSV_COLUMNS."""
    labels = Annotation.objects.filter(item__task=task).select_related("item__creative", "annotator")
    for one in labels.order_by("item__place", "pk").iterator():
        ad = one.item.creative
        words = (str(ad.public_id), ad.headline, ad.body, ad.language)
        yield [task.question, one.item.place, *words, str(one.annotator), one.label, one.at.isoformat()]


def verdicts(question: str) -> dict[int, Counter[str]]:
    """What people said of each ad, over all tasks of a question."""
    said: dict[int, Counter[str]] = {}
    labels = Annotation.objects.filter(item__task__question=question)
    for creative, label in labels.values_list("item__creative_id", "label"):
        said.setdefault(creative, Counter())[label] += 1
    return said
