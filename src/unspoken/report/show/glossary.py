"""The words of the report that not everybody knows, a sentence each."""

from __future__ import annotations

#: Word as it stands on the page -> (title, sentence).
_WORDS = {
    "internalized": (
        "internalized",
        "The model from whose training the written thought was removed bit by bit; it answers "
        "at once, and what it thinks stays inside.",
    ),
    "explicit": (
        "explicit",
        "A model that writes its chain of thought, the worked solution, before its answer.",
    ),
    "no CoT": (
        "no CoT",
        "The same model trained on questions and answers alone, for as many steps: what there is "
        "without ever seeing a chain of thought.",
    ),
    "all at once": (
        "all at once",
        "The explicit model trained on with its whole thought removed in one go, for as many "
        "steps: what the gradual removal is worth.",
    ),
    "untrained": ("untrained", "The student as it was before any training."),
    "token": (
        "token",
        "What a model reads and writes one at a time: a piece of a word, or here and there a "
        "single character. Each one written costs one pass through the model.",
    ),
    "level of removal": (
        "level of removal",
        "How many tokens of the thought training had removed; the best model of each level is "
        "kept.",
    ),
    "kept tokens": (
        "kept tokens",
        "Those of thought and answer that are not removed yet; only they are learned.",
    ),
    "nats": (
        "nats",
        "The unit of the loss: how surprised the model is by the right token, on average; 0 is "
        "certain, 0.69 is a coin's toss, each nat less makes the right token 2.7 times as likely.",
    ),
    "Wilson": (
        "Wilson 95 % interval",
        "The range in which the share of right answers likely lies on all questions of this kind, "
        "reckoned from how many were asked; few questions make it wide. That of a difference in "
        "points, Newcombe's, is made of two of them.",
    ),
    "McNemar": (
        "McNemar's test",
        "Whether two models differ, from the questions that only one of them has right; p is how "
        "often chance alone would make so large a difference, and below 0.05 counts as one.",
    ),
    "bootstrap": (
        "bootstrap",
        "An interval from drawing the measured questions again and again: how much a figure would "
        "vary had others been asked.",
    ),
    "95th percentile": (
        "median, 95th percentile",
        "Half of the questions, and 95 of 100, took this long or less.",
    ),
    "macro F1": (
        "precision, recall, F1",
        "Of the answers that name a class, the share that is right; of the questions of a class, "
        "the share that got it; and a mean of the two, low where either is. Macro: the mean over "
        "classes, rare ones counting as much as frequent ones.",
    ),
    "inear probe": (
        "linear probe",
        "A straight line fitted to a model's inner state, which tells a number only if it "
        "stands there plainly.",
    ),
    "Break-even": (
        "break-even",
        "How many answers it takes until what the student saves on each has paid for making it.",
    ),
    "SHA-256": (
        "SHA-256",
        "A fingerprint of a file: equal ones mean equal data.",
    ),
}


def glossary(page: str) -> list[tuple[str, str]]:
    """Title and sentence of the words that a page uses."""
    return [entry for word, entry in _WORDS.items() if word in page]
