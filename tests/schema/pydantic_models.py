"""Models of the kinds in pydantic's documentation, and their schemas.

Texts are short so that any model's answers end.
"""

from __future__ import annotations

import datetime as dt
import enum
import ipaddress
import uuid
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NotRequired, TypeVar

from pydantic import BaseModel, ConfigDict, Field, RootModel, StringConstraints, TypeAdapter
from pydantic.dataclasses import dataclass
from typing_extensions import TypedDict

Short = Annotated[str, StringConstraints(max_length=6)]
T = TypeVar("T")


class Fruit(enum.StrEnum):
    pear = "pear"
    banana = "banana"


class Tool(enum.IntEnum):
    spanner = 1
    wrench = 2


class User(BaseModel):
    id: int
    name: Short = "John Doe"
    signup_ts: dt.datetime | None = None
    friends: Annotated[list[int], Field(max_length=2)] = []


class Cooking(BaseModel):
    fruit: Fruit = Fruit.pear
    tool: Annotated[Tool, Field(description="What to use")] = Tool.spanner
    either: Literal["a", 2, None, True]


class Foo(BaseModel):
    count: int
    size: float | None = None


class Spam(BaseModel):
    foo: Annotated[Foo, Field(description="A foo with a description beside its reference")]
    bars: Annotated[list[Foo], Field(min_length=1, max_length=2)]


class Numbers(BaseModel):
    positive: Annotated[int, Field(gt=0)]
    non_negative: Annotated[float, Field(ge=0)]
    even: Annotated[int, Field(multiple_of=2, ge=-10, le=10)]
    price: Annotated[float, Field(lt=100, gt=0)]
    exact: Decimal


class Texts(BaseModel):
    sku: Annotated[str, Field(pattern=r"^[A-Z]{3}-\d{2}$")]
    between: Annotated[str, Field(min_length=2, max_length=4)]
    secret: Annotated[bytes, Field(max_length=4)]


class Times(BaseModel):
    at: dt.datetime
    day: dt.date
    time: dt.time
    long: dt.timedelta


class Networks(BaseModel):
    address: ipaddress.IPv4Address
    key: uuid.UUID


class Cat(BaseModel):
    pet_type: Literal["cat"]
    meows: bool


class Dog(BaseModel):
    pet_type: Literal["dog"]
    barks: float


class Lizard(BaseModel):
    pet_type: Literal["reptile", "lizard"]
    scales: bool


class Owner(BaseModel):
    pet: Annotated[Cat | Dog | Lizard, Field(discriminator="pet_type")]
    n: int


class Node(BaseModel):
    value: int
    children: Annotated[list[Node], Field(max_length=1)] = []


class Linked(BaseModel):
    sibling: Linked | None = None


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")
    x: bool


class Open(BaseModel):
    model_config = ConfigDict(extra="allow", json_schema_extra={"maxProperties": 2})
    x: bool


class Mapping(BaseModel):
    scores: Annotated[dict[str, int], Field(max_length=2)]
    by_fruit: dict[Fruit, bool]
    by_code: Annotated[
        dict[Annotated[str, StringConstraints(pattern=r"^[a-z]{2}$")], bool], Field(max_length=1)
    ]
    short: Annotated[dict[Short, bool], Field(max_length=1)]


class Pair(BaseModel, Generic[T]):
    first: T
    second: T


class Tuples(BaseModel):
    point: tuple[float, float]
    many: Annotated[tuple[int, ...], Field(max_length=2)]


class Matrix(RootModel[list[list[bool]]]):
    root: Annotated[list[Annotated[list[bool], Field(max_length=2)]], Field(max_length=2)]


class Named(BaseModel):
    """Its properties have the names of keywords."""

    model_config = ConfigDict(populate_by_name=True)
    all_of: Annotated[bool, Field(alias="allOf")]
    properties: Annotated[dict[str, bool], Field(max_length=1)]
    required: bool
    ref: Annotated[bool, Field(alias="$ref")]
    const: Annotated[Foo, Field()]
    items: Annotated[list[bool], Field(max_length=2)]
    type: Literal["object"]


class Movie(TypedDict):
    name: Short
    year: NotRequired[int]


@dataclass
class Navbar:
    button: Annotated[list[Short], Field(max_length=1)]
    wide: bool = False


class Base(BaseModel):
    id: bool


class Derived(Base):
    more: Fruit
    base: Base


class Nothing(BaseModel):
    pass


MODELS: dict[str, Any] = {
    one.__name__: one
    for one in (
        User, Cooking, Spam, Numbers, Texts, Times, Networks, Owner, Node, Linked, Strict, Open,
        Mapping, Tuples, Matrix, Named, Movie, Navbar, Derived, Nothing,
    )
} | {
    "Pair": Pair[Short],
    "list": Annotated[list[Foo], Field(max_length=2)],
    "union": Cat | bool | None,
    "nested pair": Pair[Pair[bool]],
}  # fmt: skip


def schemas() -> dict[str, dict[str, Any]]:
    """Return the schema of each model."""
    return {name: TypeAdapter(model).json_schema() for name, model in MODELS.items()}
