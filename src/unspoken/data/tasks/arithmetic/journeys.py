"""Word problems about speed, time and distance."""

from __future__ import annotations

from fractions import Fraction
from random import Random

from unspoken.data.tasks.arithmetic.calculation import worked
from unspoken.data.tasks.arithmetic.form import (
    Number,
    Solution,
    Values,
    draw_half,
    exact,
    form,
    number,
)


def _speed(rng: Random, level: int) -> int:
    return 10 * rng.randint(3, 12) if level == 0 else rng.randint(30, 120)


def _hours(rng: Random, level: int) -> Number:
    return draw_half(rng, level, 1, (6, 9, 14)[level])


def _draw_distance(rng: Random, level: int) -> Values:
    return {"v": _speed(rng, level), "t": _hours(rng, level)}


def _distance(values: Values) -> Solution:
    text, way = worked(values["v"], "×", values["t"])
    return [f"Distance is speed times time: {text}"], f"{number(way)} km"


def _draw_way_and_speed(rng: Random, level: int) -> Values:
    speed, hours = _speed(rng, level), _hours(rng, level)
    return {"d": exact(speed * hours), "v": speed}


def _time(values: Values) -> Solution:
    text, hours = worked(values["d"], "÷", values["v"])
    return [f"Time is distance divided by speed: {text}"], f"{number(hours)} hours"


def _draw_way_and_time(rng: Random, level: int) -> Values:
    speed, hours = _speed(rng, level), _hours(rng, level)
    return {"d": exact(speed * hours), "t": hours}


def _average(values: Values) -> Solution:
    text, speed = worked(values["d"], "÷", values["t"])
    return [f"Speed is distance divided by time: {text}"], f"{number(speed)} km/h"


def _draw_two_legs(rng: Random, level: int) -> Values:
    first, second = _draw_distance(rng, level), _draw_distance(rng, level)
    return {"v": first["v"], "t": first["t"], "w": second["v"], "u": second["t"]}


def _two_legs(values: Values) -> Solution:
    steps, way = _whole_way(values)
    return steps, f"{number(way)} km"


def _whole_way(values: Values) -> tuple[list[str], Number]:
    """Returns the steps to the length of both parts together, and that length."""
    one, first = worked(values["v"], "×", values["t"])
    other, second = worked(values["w"], "×", values["u"])
    both, way = worked(first, "+", second)
    return [f"The first part: {one}", f"The second part: {other}", f"Together: {both}"], way


def _draw_mean_speed(rng: Random, level: int) -> Values:
    while True:
        values = _draw_two_legs(rng, level)
        way = Fraction(values["v"] * values["t"] + values["w"] * values["u"])
        if 10 % (way / (values["t"] + values["u"])).denominator == 0:
            return values


def _mean_speed(values: Values) -> Solution:
    steps, way = _whole_way(values)
    time, hours = worked(values["t"], "+", values["u"])
    mean, speed = worked(way, "÷", hours)
    steps += [f"The whole time: {time}", f"Average speed: {mean}"]
    return steps, f"{number(speed)} km/h"


def _draw_meeting(rng: Random, level: int) -> Values:
    first, second, hours = _speed(rng, level), _speed(rng, level), _hours(rng, level)
    return {"v": first, "w": second, "d": exact((first + second) * hours)}


def _meeting(values: Values) -> Solution:
    first, closing = worked(values["v"], "+", values["w"])
    second, hours = worked(values["d"], "÷", closing)
    steps = [f"They come closer by {first} km every hour", f"Time until they meet: {second}"]
    return steps, f"{number(hours)} hours"


_ROUTE = (
    "A {x:vehicle} drives at {v} km/h for {t} hours and then at {w} km/h for another {u} hours. "
)

FORMS = (
    form(
        "distance",
        [
            "A {x:vehicle} drives at a steady {v} km/h for {t} hours. How far does it get?",
            "How many kilometers does a {x:vehicle} cover in {t} hours at {v} km/h?",
            "{who:person} drives a {x:vehicle} at {v} km/h. How far is that in {t} hours?",
            "At {v} km/h, which distance does a {x:vehicle} cover in {t} hours?",
        ],
        _draw_distance,
        _distance,
    ),
    form(
        "travel_time",
        [
            "How many hours does a {x:vehicle} need for {d} km at {v} km/h?",
            "{who:person} has {d} km to go by {x:vehicle}, at {v} km/h. "
            "How many hours will it take?",
            "A {x:vehicle} drives {d} km at {v} km/h. How long is it on the road, in hours?",
        ],
        _draw_way_and_speed,
        _time,
    ),
    form(
        "speed",
        [
            "A {x:vehicle} covers {d} km in {t} hours. What is its average speed in km/h?",
            "{who:person} needs {t} hours for {d} km by {x:vehicle}. How fast is that, in km/h?",
            "How fast must a {x:vehicle} drive, in km/h, to cover {d} km in {t} hours?",
        ],
        _draw_way_and_time,
        _average,
    ),
    form(
        "two_legs",
        [
            _ROUTE + "How far does it get in all?",
            "{who:person} drives {t} hours at {v} km/h, rests, and drives {u} hours at {w} km/h. "
            "How many kilometers is that in total?",
        ],
        _draw_two_legs,
        _two_legs,
        (1, 2),
    ),
    form(
        "mean_speed",
        [
            _ROUTE + "What is its average speed for the whole trip, in km/h?",
            "{who:person} drives {t} hours at {v} km/h, and {u} hours at {w} km/h. "
            "What is the average speed of the whole drive, in km/h?",
        ],
        _draw_mean_speed,
        _mean_speed,
        (2,),
    ),
    form(
        "meeting",
        [
            "A {x:vehicle} and a {y:vehicle} start {d} km apart and drive toward each other "
            "at {v} km/h and {w} km/h. After how many hours do they meet?",
            "{who:person} and {other:person} live {d} km apart. Both set out at the same time to "
            "meet on the way, at {v} km/h and {w} km/h. How many hours does it take?",
        ],
        _draw_meeting,
        _meeting,
        (1, 2),
    ),
)
