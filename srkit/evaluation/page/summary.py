"""What a report found, in sentences made of its numbers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from srkit.evaluation.columns import BICUBIC, HR, LR, REFERENCES
from srkit.evaluation.page.numbers import digits_of, equals, number, percent, title, words
from srkit.evaluation.page.parts import main_metrics
from srkit.evaluation.page.quality_charts import PERCEPTION, axis

if TYPE_CHECKING:
    from srkit.evaluation.identity import Distances, Pairs
    from srkit.evaluation.quality import Quality
    from srkit.evaluation.report import Report


def heading(report: Report) -> str:
    """Return what the page is about."""
    names = [name for name in report.models if name not in REFERENCES]
    names = names or list(report.models)
    said = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return f"Bench of {said}"


def summary(report: Report) -> list[str]:
    """Return sentences, one a part of the report, best first."""
    found = []
    if report.quality:
        found.append(_quality(report.quality))
    if drawn := report.whole or report.distances:
        found.append(_distances(drawn))
    if report.pairs:
        found.append(_pairs(report.pairs))
    return [text for text in found if text]


def _quality(quality: Quality) -> str:
    metric = main_metrics(quality)[0]
    about = quality.metrics[metric]
    digits, unit = digits_of(about), f" {about['unit']}" if about.get("unit") else ""
    models = [c for c in quality.scores if c not in REFERENCES]
    count = f"{len(quality.pictures):,} picture{'s' * (len(quality.pictures) != 1)}"
    sign = 1 if about["higher_is_better"] else -1
    order = sorted(models or REFERENCES, key=lambda c: -sign * quality.mean(c, metric))
    best = order[0]
    name = title(metric, about)
    said = f"On {count}, {best} has the best {name}, {number(quality.mean(best, metric), digits)}"
    said += unit
    if len(order) == 1:
        mean = number(quality.mean(best, metric), digits)
        said = f"On {count}, {best} has {mean}{unit} {name}"
    if best != BICUBIC:
        gain, low, high = quality.gain(best, metric)
        way = "more" if gain >= 0 else "less"
        near, far = sorted((abs(low), abs(high)))
        if low <= 0 <= high:
            said += (
                f"; against bicubic that is {number(gain, digits, sign=True)}, with a 95% interval "
                f"that holds 0 ({words(low, high, digits)})"
            )
        else:
            amount = f"{number(abs(gain), digits)}{unit} {way} than bicubic"
            said += f", {amount} (95% interval {words(near, far, digits)})"
    said += "."
    if len(order) > 1 and models:
        lead = next(
            one
            for one in quality.versus
            if one.metric == metric and {one.a, one.b} == {best, order[1]}
        )
        found = lead.difference
        firm = "" if found.low > 0 or found.high < 0 else "; the interval holds 0"
        said += (
            f" Its lead over {order[1]} is {number(abs(found.mean), digits)}{unit} "
            f"(p {equals(lead.adjusted)}{firm})."
        )
    return said + _perception(quality, models)


def _perception(quality: Quality, models: list[str]) -> str:
    seen = axis(quality, PERCEPTION)
    its = {c: v for c, v in seen.values.items() if c in models} if seen else {}
    if not seen or not its:
        return ""
    closest = (max if seen.up else min)(its, key=lambda c: its[c])
    base = seen.values.get(BICUBIC)
    better = "higher" if seen.up else "lower"
    beside = "" if base is None else f"bicubic {seen.value(base)}; "
    value = f"{seen.value(its[closest])} ({beside}{better} is better)"
    if len(its) > 1:
        return f" By perception {closest} is the best: {seen.title} {value}."
    return f" {seen.title}, which stands for perception, is {value}."


def _distances(found: Distances) -> str:
    models = [c for c in found.columns if c not in (LR, HR, *REFERENCES)]
    if not models or BICUBIC not in found.columns:
        return ""
    best = min(models, key=found.mean)
    share = found.closed(best)
    said = (
        f"Of {found.people} people, {best} keeps faces closest: a mean distance of "
        f"{number(found.mean(best), 3)} where bicubic has {number(found.mean(BICUBIC), 3)} and HR "
        f"{number(found.mean(HR), 3)}."
    )
    if len(models) == 1:
        said = said.replace("keeps faces closest: a", "has a")
    if not math.isnan(share.value):
        holds = ", which holds 0" if share.low <= 0 <= share.high else ""
        said += (
            f" It closes {percent(share.value)} of the gap from LR to HR (95% interval "
            f"{words(100 * share.low, 100 * share.high, 0)}%{holds})."
        )
    return said


def _pairs(found: Pairs) -> str:
    models = [
        c
        for c, its in found.columns.items()
        if c not in (LR, HR, *REFERENCES) and not math.isnan(its.auc.value)
    ]
    if not models:
        return ""
    best = max(models, key=lambda c: found.columns[c].auc.value)

    def its(column: str) -> str:
        auc = found.columns[column].auc
        return f"{number(auc.value, 3)} ({words(auc.low, auc.high, 3)})"

    said = f"Telling same from different people, {best} reaches an AUC of {its(best)}"
    others = [f"{c} {its(c)}" for c in (BICUBIC, HR) if c in found.columns]
    said += f"; {', '.join(others)}." if others else "."
    target = next(iter(found.columns[best].tar), None)
    if target is not None:
        shares = [
            f"{c} {percent(found.columns[c].tar[target].value)}"
            for c in (best, BICUBIC, HR)
            if c in found.columns
        ]
        far = percent(float(target), 0 if float(target) >= 0.01 else 1)
        said += f" At {far} false accepts it recognises these shares: {', '.join(shares)}."
    return said
