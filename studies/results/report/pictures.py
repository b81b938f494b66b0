"""The figures of a page. One that has nothing to draw says so in a sentence; one that fails must not cost the page."""

from __future__ import annotations

import base64
import functools
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from studies.results.comparison import ALL
from studies.results.figures.confusion import draw_confusion
from studies.results.figures.cost import draw_cost
from studies.results.figures.forest import draw_forest
from studies.results.figures.importance import draw_importance
from studies.results.figures.label_efficiency import draw_label_efficiency
from studies.results.figures.leaderboard import draw_leaderboard
from studies.results.figures.learning_curves import draw_learning_curves
from studies.results.figures.parallel_coordinates import draw_parallel_coordinates
from studies.results.figures.per_class import draw_per_class
from studies.results.figures.perturbations import draw_perturbations, draw_strengths
from studies.results.figures.profiles import draw_profiles
from studies.results.figures.regret import draw_regret
from studies.results.figures.regulation import draw_regulation
from studies.results.figures.slices import draw_slices
from studies.results.figures.style import PAGE_IN, NothingToDraw, rendered
from studies.results.figures.thresholds import draw_thresholds
from studies.results.fixmatch import in_short
from studies.results.leaderboard import search_rows, short_scope
from studies.results.report.parts import Picture, ident
from studies.results.report.shown import TOP, best_measured, regulated, shown_predictions
from studies.results.report.study import ABLATION, FRACTIONS, SWEEP, TEST, StudyView
from studies.results.report.variants import apart
from studies.results.schema import SEARCH, TRANSFER
from studies.results.scores import OURS
from studies.results.stats.blocks import blocks_of
from studies.results.stats.importance import Importance, importance
from studies.results.stats.multiplicity import comparison_note
from studies.results.stats.paired import paired_difference
from studies.results.stats.profiles import performance_profile
from studies.results.stats.regret import simple_regret

log = logging.getLogger(__name__)

CSS_PER_INCH = 110.0  # pixels: a figure of page width fills most of the page's column
MOST_SVG_BYTES = 250_000  # a vector picture past that is heavier than it is worth; then pixels
MOST_SCOPES = 8  # that have pictures of their own


@dataclass(frozen=True)
class Drawing:
    """A figure to be made: what it is called, what it shows, how to draw it."""

    name: str
    caption: str
    draw: Callable[[], Figure]


def picture(drawing: Drawing) -> Picture:
    """Draw, and inline what comes of it; where nothing does, a sentence stands for it."""
    name = ident("figure", drawing.name)
    try:
        figure = drawing.draw()
        content, kind = rendered(figure, "svg"), "svg+xml"
        if len(content) > MOST_SVG_BYTES:
            content, kind = rendered(figure, "png"), "png"
    except NothingToDraw as nothing:
        return Picture(name, f"{drawing.caption} No figure: {nothing}.")
    except Exception as error:
        log.warning(
            "figure '%s' cannot be drawn (%s: %s); the page goes on without", drawing.name, type(error).__name__, error
        )
        return Picture(name, f"{drawing.caption} No figure: drawing it failed ({type(error).__name__}: {error}).")
    source = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    width, height = (round(CSS_PER_INCH * inches) for inches in figure.get_size_inches())
    wide = figure.get_figwidth() > PAGE_IN / 2 + 0.5
    return Picture(name, drawing.caption, drawing.caption, source, width, height, wide)


def drawings(study: StudyView) -> Iterator[Drawing]:
    """The figures that suit the kind of study."""
    if study.kind == SWEEP:
        yield from _of_sweep(study)
    elif study.kind == FRACTIONS:
        yield Drawing(
            "label-efficiency",
            "Error on test against labelled clips, with fitted power laws; right, the paper's numbers.",
            lambda: draw_label_efficiency(_named_fixmatch(study)),
        )
    elif study.kind == ABLATION:
        yield from _of_ablation(study)
    yield from _of_any(study)


def search_scopes(study: StudyView) -> list[str]:
    """Label scopes with a search, in order of appearance."""
    return [str(scope) for scope in search_rows(study.trials).scope.unique()]


def importances(study: StudyView) -> dict[str, Importance]:
    """Importance of the searched parameters by scope."""
    rows = search_rows(study.trials)
    return {scope: importance(rows[rows.scope == scope]) for scope in search_scopes(study)}


def _of_sweep(study: StudyView) -> Iterator[Drawing]:
    trials, scopes = study.trials, search_scopes(study)
    yield Drawing(
        "leaderboard",
        "The best configurations of each scope with their intervals; chosen on dev.",
        lambda: draw_leaderboard(trials, scopes, predictions=shown_predictions(study, scopes), top=TOP),
    )
    yield Drawing(
        "learning-curves",
        "Dev accuracy by epoch; trials that were pruned end in a cross.",
        lambda: draw_learning_curves(trials, study.epochs, scopes),
    )
    yield Drawing("importance", "Which parameters of the search matter.", lambda: draw_importance(importances(study)))
    yield Drawing(
        "regret",
        "How far the best trial so far was below the best of all, by trials and by time.",
        lambda: draw_regret(simple_regret(trials)),
    )
    searched = trials[trials.role.isin([SEARCH, TRANSFER])]
    yield Drawing(
        "strengths",
        "Dev accuracy by the strength of the perturbation, a look a kind.",
        lambda: draw_strengths(searched, scopes[:MOST_SCOPES]),
    )
    for scope in scopes[:MOST_SCOPES]:
        short = short_scope(scope)
        parallel = functools.partial(draw_parallel_coordinates, trials, scope)
        yield Drawing(f"parallel-{scope}", f"Every trial's parameters on {short}.", parallel)
        slices = functools.partial(draw_slices, trials, scope)
        yield Drawing(f"slices-{scope}", f"Dev accuracy by each parameter on {short}.", slices)


def _of_ablation(study: StudyView) -> Iterator[Drawing]:
    for question in study.questions:
        rows = apart(study, study.measured(question))
        if question == "perturbations" and "none" in set(rows.method):
            kinds = [m for m in rows.method.unique() if m != "none"]
            yield Drawing(
                "perturbations",
                "What each temporal perturbation adds to spatial views; right, the paper's Table 4.",
                lambda rows=rows, kinds=kinds: draw_perturbations(  # type: ignore[misc]
                    {"reverse_fine" if k == OURS else k: paired_difference(rows, k, "none") for k in kinds}
                ),
            )
        if question == "thresholds":
            yield Drawing(
                "thresholds",
                "Fixed thresholds against adaptive regulation.",
                functools.partial(draw_thresholds, rows),
            )


def _of_any(study: StudyView) -> Iterator[Drawing]:
    if study.comparisons:
        yield Drawing("differences", "Paired differences on test with 95 % intervals.", lambda: _forest(study))
    for question in study.questions:
        among = f" of the ablation {question}" if question else ""
        yield Drawing(
            ident("profiles", question),
            f"Share of runs that reach an accuracy, by method{among}, over all scopes.",
            functools.partial(_profiles, study, question),
        )
    yield from _regulation(study)
    yield Drawing("cost", "What a trial costs and what it reaches on dev.", lambda: draw_cost(study.scores))
    if (best := best_measured(study)) is not None:
        trial_id, other_id, name = best
        yield Drawing(
            "confusion",
            f"Confusion of {name} on test.",
            lambda: draw_confusion(study.predictions(trial_id)),
        )
        if other_id is not None:
            yield Drawing(
                "per-class",
                f"Change of each class's accuracy on test from the supervised baseline to {name}.",
                lambda: draw_per_class(
                    study.predictions(trial_id), study.predictions(other_id), names=(name, "supervised")
                ),
            )


def _regulation(study: StudyView) -> Iterator[Drawing]:
    """A figure a label scope, of the default's runs alone: what weighs otherwise has other pseudo-labels."""
    about = "How good the pseudo-labels of SeFAR are by confidence and spread, and how they are weighted"
    found = regulated(study)
    for each in found:
        caption = f"{about} at {short_scope(each.scope)}." + (f" Note: {each.note}." if each.note else "")
        yield Drawing(
            f"regulation-{each.scope}" if len(found) > 1 else "regulation",
            caption,
            lambda each=each: draw_regulation(  # type: ignore[misc]
                each.rows(study.regulation), alpha=each.alpha, kappa=each.kappa
            ),
        )
    if not found:
        yield Drawing("regulation", f"{about}.", lambda: _nothing("no run of SeFAR has finished"))


def _nothing(reason: str) -> Figure:
    raise NothingToDraw(reason)


def _named_fixmatch(study: StudyView) -> pd.DataFrame:
    """Scores whose FixMatch, at each fraction the one chosen on dev, has one name."""
    scores = apart(study, study.measured())
    return scores.assign(method=in_short(scores.method))


def _forest(study: StudyView) -> Figure:
    rows, adjusted = {}, {}
    for each in study.comparisons:
        where = f"{each.question}: " if each.question else ""
        label = f"{where}{each.paired.method} − {each.paired.other}, {short_scope(each.scope)}"
        rows[label], adjusted[label] = each.paired, each.adjusted_p
    return draw_forest(rows, adjusted_p=adjusted, note=comparison_note(len(rows)))


def _profiles(study: StudyView, question: str) -> Figure:
    rows = _named_fixmatch(study) if study.kind == FRACTIONS else apart(study, study.measured(question))
    # what labels every clip is the baseline's alone, and no method would be common to all scopes
    rows = rows[rows.fraction != ALL] if study.few_fractions else rows
    if rows.empty:
        raise NothingToDraw("no finished trial was evaluated on the test clips")
    span = rows[TEST].max() - rows[TEST].min()
    thresholds = [rows[TEST].min() - 0.05 * span + 1.1 * span * step / 100 for step in range(101)]
    common = set.intersection(*(set(group.method) for _, group in rows.groupby("base_scope")))
    if not common:
        raise NothingToDraw("no method was run on every scope")
    profiles = {}
    for method in [m for m in rows.method.unique() if m in common]:
        runs = rows[rows.method == method]
        scores = {str(scope): group[TEST].to_numpy() for scope, group in runs.groupby("base_scope")}
        splits = {str(scope): blocks_of(group) for scope, group in runs.groupby("base_scope")}
        profiles[str(method)] = performance_profile(scores, thresholds, clusters=splits, shared=True)
    return draw_profiles(profiles)
