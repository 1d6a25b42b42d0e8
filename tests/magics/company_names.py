"""Names of companies as two registers spell them, made with a seed, and which are the same."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pandas as pd


def _words(text: str) -> list[str]:
    return text.split()


PROPER = _words("""
    Abbott Acker Albion Almond Ambrose Ardent Arkwright Aurora Barlow Beacon Bellamy Birch
    Bluebird Bramble Calder Camden Cedar Chandler Cobalt Copper Coral Crown Dalton Dorset
    Eagle Ellery Ember Fairfax Falcon Fenwick Foster Garnet Glenn Granite Harbour Hawthorn
    Hudson Indigo Ironwood Jasper Juniper Kestrel Kingsley Lakeside Lambert Laurel Lindqvist
    Lowell Magnolia Marlow Meridian Milton Monarch Nordic Northgate Oakley Orchard Orion
    Osborne Parker Pemberton Phoenix Pinnacle Prescott Quartz Quincy Ravenna Redwood
    Ridgeway Rowan Sable Sawyer Sterling Summit Tamarind Thornton Tideway Upland Valencia
    Vesper Walden Westbrook Whitmore Willow Yarrow Zephyr
""")
TRADES = _words("""
    Airlines Analytics Bakery Brewing Builders Capital Chemicals Clothing Consulting Dairy
    Electronics Energy Engineering Films Foods Furniture Glass Hotels Insurance
    International Laboratories Logistics Machinery Manufacturing Media Motors Paper
    Pharmaceuticals Press Properties Robotics Security Shipping Software Solutions Steel
    Systems Technologies Textiles Toys
""")
FORMS = ["Inc.", "Corporation", "Ltd", "LLC", "Group", "Company", "Holdings", "PLC"]
SHORT = {
    "International": "Intl.",
    "Technologies": "Tech",
    "Laboratories": "Labs",
    "Manufacturing": "Mfg.",
    "Engineering": "Eng.",
    "Pharmaceuticals": "Pharma",
    "Corporation": "Corp.",
    "Company": "Co.",
    "Solutions": "Sol.",
    "Systems": "Sys.",
}


@dataclass(frozen=True)
class Registers:
    """Two tables of names, and the labels of the pairs that are the same company."""

    left: pd.DataFrame
    right: pd.DataFrame
    same: set[tuple[int, int]]


def make(rows: int = 200, shared: int = 150, seed: int = 7) -> Registers:
    """Return two registers of ``rows`` names each; ``shared`` companies are in both."""
    made = random.Random(seed)
    forms: dict[tuple[str, ...], str] = {}
    while len(forms) < 2 * rows - shared:
        words = made.sample(PROPER, made.choice([1, 1, 2]))
        # Two companies never differ in their legal form alone, which registers write as they like.
        forms.setdefault((*words, made.choice(TRADES)), made.choice(FORMS))
    companies = [(*words, form) for words, form in forms.items()]
    first = companies[:rows]
    second = [_other_spelling(name, made) for name in companies[:shared]]
    second += [" ".join(name) for name in companies[rows:]]
    order = made.sample(range(rows), rows)
    right = pd.DataFrame({"name": [second[at] for at in order]}, index=range(1000, 1000 + rows))
    left = pd.DataFrame({"text": [" ".join(name) for name in first]})
    same = {(at, 1000 + order.index(at)) for at in range(shared)}
    return Registers(left, right, same)


def _other_spelling(name: tuple[str, ...], made: random.Random) -> str:
    *words, form = name
    words = [SHORT.get(word, word) if made.random() < 0.5 else word for word in words]
    if made.random() < 0.5:
        at = made.randrange(len(words))
        words[at] = _with_error(words[at], made)
    form = made.choice(["", SHORT.get(form, form), form, form.upper(), "Co."])
    text = " ".join(filter(None, [*words, form]))
    changed = [text, text.upper(), text.lower(), text.replace(" ", ", ", 1), f"The {text}"]
    return made.choice(changed)


def _with_error(word: str, made: random.Random) -> str:
    """Swap, drop or double a letter inside a word."""
    if len(word) < 5:
        return word
    at = made.randrange(1, len(word) - 2)
    swapped = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    dropped = word[:at] + word[at + 1 :]
    doubled = word[:at] + word[at] + word[at:]
    return made.choice([swapped, dropped, doubled])
