"""What the figures of a diagnosis come to, in sentences.

All thresholds stand here.  They divide what a reader should look at from what is as it should be; none is a test that a
model passes.
"""

from __future__ import annotations

import math

from .figures import Counterfactual, Diagnosis, Difference

# Attention over 20 items at this share of the largest entropy is spread like equal weights of 20 ** 0.95 = 17 of them.
UNIFORM = 0.95
# ... and at this one like equal weights of 20 ** 0.25 = 2.
POINTED = 0.25
# Vectors of this cosine are 18 degrees apart: an interest so close to a mean of item embeddings says little more.
COLLAPSED = 0.95
# With less than a twentieth of the weight a branch hardly moves the user's vector.
ONE_BRANCH = 0.05
# Alpha that differs less from history to history is in effect one number.
STEADY = 0.02
# Standard errors that a difference must exceed: without any, one in twenty would.
CLEAR = 2.0
# Recent items are enough once they give this share of NDCG@10: what is missing is within the error of a thousand rows.
ENOUGH = 0.95
# The long-term branch does not see the order; rounding may still move an item past another in a row or two.
ROUNDING = 0.01

NAMES = {"fusion": "fusion", "long": "long-term branch", "short": "short-term branch"}


def sentences(found: Diagnosis) -> list[str]:
    """The verdict, one sentence each."""
    return [
        *_attention(found),
        *_interests(found),
        *_fusion(found),
        *_branches(found),
        *_order(found),
        *_recent(found),
        *_label(found),
    ]


def _sign(gap: Difference) -> int:
    """1 or -1 where a difference is beyond its error, 0 where the rows do not tell."""
    if not abs(gap.mean) > CLEAR * gap.error:
        return 0
    return 1 if gap.mean > 0 else -1


def _attention(found: Diagnosis) -> list[str]:
    said = []
    of = {
        "long": "the long-term interest is close to a plain mean of the history",
        "short": "no item of it counts more",
    }
    for kind, meaning in of.items():
        entropy = found.measures[f"{kind}_entropy"]
        if entropy.mean >= UNIFORM:
            said.append(
                f"The {kind}-term attention is nearly uniform (entropy {entropy.mean:.2f} of its maximum): {meaning}."
            )
        elif entropy.mean <= POINTED:
            said.append(
                f"The {kind}-term attention is on one or two items of a history "
                f"(entropy {entropy.mean:.2f} of its maximum)."
            )
    return said


def _interests(found: Diagnosis) -> list[str]:
    said = []
    for kind in ("long", "short"):
        own, other = found.measures[f"{kind}_own"].mean, found.measures[f"{kind}_other"].mean
        if own >= COLLAPSED:
            said.append(
                f"The {kind}-term interest has all but collapsed to its proxy (cosine {own:.2f}): "
                "the contrast can be won like this without learning anything."
            )
        share = found.nearer_own[kind]
        if math.isnan(share):
            continue
        nearer = f"in {_percent(share)} of the rows (mean cosine {own:.2f}, and {other:.2f} to the other proxy)"
        if share > 0.5:
            said.append(f"The {kind}-term interest is nearer to its own proxy {nearer}.")
        else:
            said.append(f"The {kind}-term interest is not told apart: it is nearer to its own proxy only {nearer}.")
    return said


def _fusion(found: Diagnosis) -> list[str]:
    alpha = found.measures["alpha"]
    if found.fixed_alpha is not None:
        return [f"Alpha was fixed at {found.fixed_alpha:g} in training, and tells nothing."]
    if alpha.mean <= ONE_BRANCH:
        return [f"The fusion uses the short-term branch alone (mean alpha {alpha.mean:.2f})."]
    if alpha.mean >= 1 - ONE_BRANCH:
        return [f"The fusion uses the long-term branch alone (mean alpha {alpha.mean:.2f})."]
    said = [f"The fusion gives the long-term interest a weight of {alpha.mean:.2f} on average."]
    if alpha.std < STEADY:
        said.append(f"Alpha hardly differs from history to history (standard deviation {alpha.std:.3f}).")
    return said


def _branches(found: Diagnosis) -> list[str]:
    said = []
    popular = found.ranking["popularity"].ndcg
    for branch in ("long", "short"):
        if _sign(found.differences[f"{branch} - popularity"]) <= 0:
            said.append(
                f"The {NAMES[branch]} does not rank by itself: its NDCG@10 of {found.ranking[branch].ndcg:.4f} is not "
                f"clearly above the {popular:.4f} of ranking by popularity."
            )
    over = {branch: _sign(found.differences[f"fusion - {branch}"]) for branch in ("long", "short")}
    better = max(("long", "short"), key=lambda branch: found.ranking[branch].ndcg)
    figures = f"NDCG@10 {found.ranking['fusion'].ndcg:.4f} against {found.ranking[better].ndcg:.4f}"
    if over[better] > 0:
        said.append(f"The fusion ranks better than either branch alone ({figures} of the {NAMES[better]}).")
    elif over[better] < 0:
        said.append(f"The fusion ranks worse than the {NAMES[better]} alone ({figures}).")
    else:
        said.append(f"The fusion does not rank measurably better than the {NAMES[better]} alone ({figures}).")
    return said


def _order(found: Diagnosis) -> list[str]:
    (shuffled,) = found.changes("shuffled")
    said = []
    long = shuffled.branches["long"]
    if abs(long.relative) <= ROUNDING:
        said.append("Shuffling leaves the long-term branch as it is, as it must: it does not see the order.")
    elif not math.isnan(long.relative):
        why = "though it should not see the order"
        if found.in_order:
            why = f"since its ranking has the {' and the '.join(found.in_order)} beside it, which see the order"
        said.append(f"Shuffling changes the long-term branch by {_signed(long.relative)}, {why}.")
    said += _effect(shuffled, "short", "Shuffling", "it makes no use of the order")
    return said + [
        line
        for without in found.changes("without last")
        if without.rows
        for branch in ("short", "long")
        for line in _effect(without, branch, f"To lose the last {_items(without.items)}", "it does not need them")
    ]


def _effect(found: Counterfactual, branch: str, what: str, otherwise: str) -> list[str]:
    change = found.branches[branch]
    if math.isnan(change.relative):
        return []
    error = "" if math.isnan(change.relative_error) else f" ± {_percent(CLEAR * change.relative_error)}"
    sign = _sign(change.difference)
    if not sign:
        return [
            f"{what} changes the {NAMES[branch]} by {_signed(change.relative)}{error}, within the error: "
            f"{otherwise}, or the rows are too few to tell."
        ]
    verb = "costs" if sign < 0 else "gives"
    return [f"{what} {verb} the {NAMES[branch]} {_percent(abs(change.relative))}{error} of its NDCG@10."]


def _recent(found: Diagnosis) -> list[str]:
    said = []
    for branch in ("short", "long"):
        kept_best = max(found.changes("last"), key=lambda kept: kept.branches[branch].ndcg, default=None)
        if kept_best is not None and _sign(kept_best.branches[branch].difference) > 0:
            change = kept_best.branches[branch]
            said.append(
                f"The {NAMES[branch]} ranks better by the last {_items(kept_best.items)} alone than by the whole "
                f"history (NDCG@10 {change.ndcg:.4f} against {change.untouched:.4f})."
            )
            continue
        if _sign(found.differences[f"{branch} - popularity"]) <= 0:
            continue
        for kept in found.changes("last"):
            if kept.branches[branch].ndcg >= ENOUGH * kept.branches[branch].untouched:
                enough = "needs all" if kept.items == found.longest else f"needs the last {_items(kept.items)}"
                said.append(f"For {_percent(ENOUGH)} of its NDCG@10 the {NAMES[branch]} {enough} of a history.")
                break
    return said


def _label(found: Diagnosis) -> list[str]:
    label = found.label
    if label is None:
        return []
    if label.auc is None or label.auc_error is None:
        return [f"All rows have the same {label.field}: there is nothing for alpha to tell."]
    said = []
    if found.fixed_alpha is None:
        area = f"ROC AUC {label.auc:.2f} ± {CLEAR * label.auc_error:.2f}"
        told = {
            1: f"Alpha is larger where {label.field} is 1, as it should be ({area}).",
            0: f"Alpha does not tell {label.field} 1 from 0 ({area}).",
            -1: f"Alpha is smaller where {label.field} is 1: the wrong way round ({area}).",
        }
        said.append(told[_sign(Difference(label.auc - 0.5, label.auc_error))])
    for key, wanted in (("1", "long"), ("0", "short")):
        sign = _sign(label.long_over_short[key])
        if sign:
            better = "long" if sign > 0 else "short"
            as_wanted = "as it should" if better == wanted else "though it should be the other one"
            said.append(f"Where {label.field} is {key} the {NAMES[better]} ranks better, {as_wanted}.")
    return said


def _items(number: int | None) -> str:
    return "item" if number == 1 else f"{number} items"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.1 or share == 0 else f"{100 * share:.1f} %"


def _signed(share: float) -> str:
    return f"{'+' if share > 0 else '-' if share < 0 else ''}{_percent(abs(share))}"
