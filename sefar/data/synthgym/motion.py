"""From an element's key poses to a pose trajectory and to points in the world.

Between two keys, rotation and twist advance linearly, so that turns are spread evenly over the sampled
frames; joints ease in and out. Shapes: T frames, P pose columns, J points, K keys.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from sefar.data.synthgym.choreography import CHOREOGRAPHIES, Key
from sefar.data.synthgym.elements import ELEMENTS, Element
from sefar.data.synthgym.skeleton import (
    COLUMN,
    POSE_COLUMNS,
    Array,
    Proportions,
    contact_point,
    mass_centre,
    relative_points,
)


@lru_cache(maxsize=len(ELEMENTS))
def _keys(element: Element) -> tuple[tuple[Key, ...], Array, Array]:
    """Keys, their times (K,), and their poses (K, P)."""
    keys = tuple(CHOREOGRAPHIES[element.kind](element))
    pose_KP = np.zeros((len(keys), len(POSE_COLUMNS)))
    for row, key in zip(pose_KP, keys, strict=True):
        row[0:2] = key.turn
        for name, value in key.pose.items():
            row[COLUMN[name]] = value
    return keys, np.array([key.time for key in keys]), pose_KP


def _source(element: Element, times_T: Array) -> tuple[Element, Array]:
    """The element whose keys to use, and the times at which to read them."""
    if element.reverse_of is None:
        return element, times_T
    return ELEMENTS[element.reverse_of], 1.0 - times_T


def pose_trajectory(element: Element, times_T: Array) -> Array:
    """Poses of an element without any noise.

    Args:
        element: An element of the catalogue.
        times_T: Times in [0, 1]; others are clamped.

    Returns:
        Pose angles (T, P) in radians, columns as in `POSE_COLUMNS`.
    """
    element, times_T = _source(element, times_T)
    _, key_times, pose_KP = _keys(element)
    times_T = np.clip(times_T, 0.0, 1.0)
    left = np.clip(np.searchsorted(key_times, times_T, side="right") - 1, 0, len(key_times) - 2)
    share = ((times_T - key_times[left]) / (key_times[left + 1] - key_times[left]))[:, None]
    weight_TP = np.repeat(share * share * (3 - 2 * share), pose_KP.shape[1], axis=1)
    weight_TP[:, :2] = share
    return pose_KP[left] + weight_TP * (pose_KP[left + 1] - pose_KP[left])


def place(element: Element, times_T: Array, pose_TP: Array, proportions: Proportions) -> Array:
    """Sets a performer's body on its supports.

    Args:
        element: The element, which says what supports the body when.
        times_T: Times in [0, 1] of the rows of `pose_TP`.
        pose_TP: Poses, as from `pose_trajectory` and perhaps disturbed.
        proportions: The performer's build.

    Returns:
        Points (T, J, 3) in world axes and body heights.
    """
    element, times_T = _source(element, times_T)
    keys, key_times, pose_KP = _keys(element)
    times_T = np.clip(times_T, 0.0, 1.0)
    points_TJ3 = relative_points(pose_TP, proportions)
    key_points = relative_points(pose_KP, proportions)
    segment_T = np.clip(np.searchsorted(key_times, times_T, side="right") - 1, 0, len(keys) - 2)
    offset_T2 = np.zeros((len(times_T), 2))
    for index, key in enumerate(keys[:-1]):
        chosen = np.flatnonzero(segment_T == index)
        if len(chosen) == 0:
            continue
        if key.support is not None:
            offset_T2[chosen] = np.asarray(key.at) - contact_point(points_TJ3[chosen], key.support)
        else:
            centre = _flight_centre(keys, key_points, index, times_T[chosen])
            offset_T2[chosen] = centre - mass_centre(points_TJ3[chosen])
    points_TJ3[..., :2] += offset_T2[:, None]
    return points_TJ3


def _flight_centre(keys: tuple[Key, ...], key_points: Array, index: int, times_N: Array) -> Array:
    """Centre of mass (N, 2) in the flight that holds between keys `index` and `index + 1`."""
    first = max(i for i in range(1, index + 1) if keys[i - 1].support is not None)
    last = next(i for i in range(index + 1, len(keys)) if keys[i].support is not None)

    def grounded(at: int, holder: Key) -> Array:
        assert holder.support is not None
        points = key_points[at : at + 1]
        return (np.asarray(holder.at) - contact_point(points, holder.support) + mass_centre(points))[0]

    begin, end = grounded(first, keys[first - 1]), grounded(last, keys[last])
    share = ((times_N - keys[first].time) / (keys[last].time - keys[first].time))[:, None]
    centre = begin + (end - begin) * share
    centre[:, 1] += 4 * keys[first].lift * (share * (1 - share))[:, 0]
    return centre
