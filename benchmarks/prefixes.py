"""What the prefixes of an embedding model are worth: nDCG@10 with and without them.

    python benchmarks/prefixes.py --model multilingual-e5-small

Asks the server of the environment (JUPYTER_OLLAMA_URL). A seed makes 1,000 facts, each a person
with a job in a town, and 300 questions that name the town and paraphrase the job; one fact answers
each question, and others share its town or its job.
"""

from __future__ import annotations

import argparse
import math

import jupyter_ollama_magics.accessor  # noqa: F401 - adds .ollama
import numpy as np
import pandas as pd

JOBS = (
    ("repairs violins and cellos in a small workshop", "fixes string instruments"),
    ("bakes bread in a wood-fired oven before dawn", "makes loaves early in the morning"),
    ("keeps bees on the roof of a hotel", "produces honey above the city"),
    ("teaches children to swim in the public pool", "gives water lessons to kids"),
    ("drives the night bus along the river", "takes passengers home after midnight"),
    ("restores old oil paintings for a museum", "cleans antique canvases"),
    ("grows tomatoes in heated greenhouses", "raises vegetables under glass"),
    ("trains dogs that search for missing people", "prepares rescue animals"),
    ("sews wedding dresses by hand", "tailors gowns for brides"),
    ("plays the organ at funerals", "makes music at burials"),
    ("mends fishing nets at the harbour", "patches the gear of trawlers"),
    ("audits the accounts of hospitals", "checks the finances of clinics"),
    ("photographs birds for a magazine", "takes pictures of winged animals"),
    ("designs bridges for railways", "engineers crossings for trains"),
    ("roasts coffee imported from Ethiopia", "prepares African beans for espresso"),
    ("delivers letters by bicycle", "brings the mail on two wheels"),
    ("translates poems from Persian", "renders verse from an Iranian language"),
    ("sharpens knives at the weekly market", "puts an edge on blades for shoppers"),
    ("writes software for weather satellites", "programs orbiting forecast instruments"),
    ("nurses premature babies at night", "cares for newborns in the late shift"),
)
"""What people do, and the same in the words of a question."""
TOWNS = (
    "Arles", "Bergen", "Cork", "Delft", "Evora", "Fulda", "Ghent", "Haifa", "Izmir", "Jena",
    "Kyoto", "Lucca", "Malmo", "Namur", "Odense", "Parma", "Quito", "Riga", "Siena", "Tartu",
    "Utrecht", "Vigo", "Wroclaw", "York", "Zadar", "Aarhus", "Basel", "Cadiz", "Dundee", "Essen",
    "Faro", "Graz", "Hobart", "Ipswich", "Jaipur", "Kiel", "Leeds", "Mainz", "Nice", "Oulu",
    "Pisa", "Rouen", "Split", "Turin", "Ulm", "Verona", "Windhoek", "Yerevan", "Zurich", "Bruges",
)  # fmt: skip
NAMES = ("Marta", "Jonas", "Aiko", "Pedro", "Leila", "Oskar", "Nadia", "Tomas", "Ines", "Farid")
FAMILIES = ("Kowalski", "Brandt", "Sato", "Alvarez", "Haddad", "Nilsen", "Petrov", "Costa", "Weber")
FORMS = ("Who {} in {}?", "Which person in {1} {0}?", "I need somebody who {} near {}.")
QUESTIONS = 300


def data(seed: int) -> tuple[pd.Series, pd.DataFrame]:
    """Return the facts, and questions with the number of the fact that answers each."""
    rng = np.random.default_rng(seed)
    pairs = [(job, town) for job in range(len(JOBS)) for town in range(len(TOWNS))]
    facts = [
        f"{rng.choice(NAMES)} {rng.choice(FAMILIES)} {JOBS[job][0]} in {TOWNS[town]}, "
        f"{rng.integers(2, 40)} years after a start as an apprentice."
        for job, town in pairs
    ]
    chosen = rng.permutation(len(pairs))[:QUESTIONS]
    questions = [
        str(rng.choice(FORMS)).format(JOBS[pairs[place][0]][1], TOWNS[pairs[place][1]])
        for place in chosen
    ]
    return pd.Series(facts), pd.DataFrame({"question": questions, "fact": chosen})


def ndcg(facts: np.ndarray, questions: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """Return the nDCG@10 of each question with one right fact."""
    order = np.argsort(-(questions @ facts.T), axis=1)[:, :10]
    hits = order == answers[:, None]
    gains = np.array([1 / math.log2(rank + 2) for rank in range(10)])
    return np.asarray((hits * gains).sum(axis=1))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--seed", type=int, default=20)
    args = parser.parse_args()
    facts, asked = data(args.seed)

    def vectors(texts: pd.Series, kind: str | None) -> np.ndarray:
        return np.asarray(texts.ollama.embed(model=args.model, kind=kind, expand=True))

    answers = asked["fact"].to_numpy()
    documents = {kind: vectors(facts, kind) for kind in (None, "document")}
    queries = {kind: vectors(asked["question"], kind) for kind in (None, "query")}
    print(f"{args.model}, {len(facts):,} facts, {len(asked)} questions, seed {args.seed}\n")
    print("| query | facts | nDCG@10 | right fact first |")
    print("|---|---|---|---|")
    scores = {}
    for query, document in (
        (None, None),
        ("query", None),
        (None, "document"),
        ("query", "document"),
    ):
        gains = scores[query, document] = ndcg(documents[document], queries[query], answers)
        cells = (
            query or "bare",
            document or "bare",
            f"{gains.mean():.4f}",
            f"{(gains == 1).mean():.3f}",
        )
        print(f"| {' | '.join(cells)} |")
    difference = scores["query", "document"] - scores[None, None]
    rng = np.random.default_rng(args.seed)
    means = rng.choice(difference, (2000, len(difference))).mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    print(f"\nwith both less bare: {difference.mean():+.4f} (95 %: {low:+.4f} to {high:+.4f})")


if __name__ == "__main__":
    main()
