"""Pictures of what the model sees: frames of each granularity, weak and strong views, perturbations, mixed clips.

Shape suffixes: T frames of all granularities, C channels, H, W pixels, B clips, N patches, D values of a patch.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from sefar.config import TrainConfig
from sefar.data.augment import draw_crops, drop_channels, evaluation_crop
from sefar.data.loaders import ClipReader, open_store
from sefar.data.sampling import deal_slots, sample_frames
from sefar.data.scopes import Scope
from sefar.errors import ConfigError, ScopeError, nearest
from sefar.models.granularity import MEAN, STD, normalise
from sefar.models.timesformer import ARCHITECTURES
from sefar.ssl.mixing import draw_mix, mix_tokens
from sefar.ssl.perturb import KINDS, frame_index, perturb
from sefar.strips import Section, Strip, Tile, draw_sections, granularity_colour

SAID = {
    "reverse_fine": "the paper's: every fine element backwards, the context as it is",
    "none": "spatial views only",
    "drop": "a frame gives way to its predecessor with probability 1/2 x strength",
    "slow": "the first half of each granularity, each frame twice",
    "shuffle_all": "all frames of the clip in any order",
    "shuffle_fine": "each fine element in any order",
    "warp": "a random half of each granularity's frames, the rest filled from the nearest",
    "half": "the second half of each granularity replaced by the first",
    "reverse_all": "every granularity backwards, the context too",
    "reverse_channels": "released code: the fine elements' colour channels backwards, not time",
}


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Draws a scope's clips under one configuration.

    Attributes:
        config: sampling, views, perturbation, mixing.
        scope: the clips.
        clips_per_class: strips a class in ``classes``.
        clip: clip of the other sections; empty: the first labelled one.
        partner: clip it is mixed with; empty: one of another class, drawn with `seed`.
        seed: of every random draw.

    Raises (all sections):
        ScopeError: the scope has no clip of that name.
        DecodeError: a clip does not decode.
    """

    config: TrainConfig
    scope: Scope
    clips_per_class: int = 1
    clip: str = ""
    partner: str = ""
    seed: int = 0

    def draw(self, what: Sequence[str], *, scale: int = 2) -> Image.Image:
        """Sections one below the other.

        Args:
            what: keys of `SECTIONS`, or ``all``.
            scale: enlargement of each frame, ≥ 1.

        Returns:
            One picture with a legend.

        Raises:
            ConfigError: no such section.
        """
        return draw_sections(self._legend(), [SECTIONS[name](self) for name in sections(what)], scale)

    def classes(self) -> Section:
        """A strip a class: labelled clips under the deterministic evaluation view, frames in time order."""
        table = self.scope.labelled.groupby("label").head(self.clips_per_class).sort_values("label", kind="stable")
        strips = []
        for row in range(len(table)):
            view_TCHW, index_T = self._evaluation_view(table, row)
            order = np.argsort(index_T, kind="stable")
            tiles = self._tiles(view_TCHW, index_T)
            caption = f"{self.scope.classes[table.label.iloc[row]]}   {table.clip_id.iloc[row]}"
            strips.append(Strip(caption, [[tiles[t] for t in order]]))
        return Section("Clips, frames in time order", [f"evaluation view; {self._badge_note()}"], strips)

    def views(self) -> Section:
        """One draw of the weak view and of the strong view, the latter step by step, in the order the model reads."""
        table, rng = self._table(self._clip_id()), _rng(self.seed)
        generator = torch.Generator().manual_seed(self.seed)
        frames, views = self._frames, self.config.views
        weak_TCHW, weak_T = self._drawn_view(table, rng, flip=False)
        strong_TCHW, strong_T = self._drawn_view(table, rng, flip=True)
        state = generator.get_state()
        source_T = frame_index(self.config.perturb, 1, frames, generator)[0]
        generator.set_state(state)
        clean = perturb(normalise(strong_TCHW)[None], frames, self.config.perturb, generator)
        dropped = drop_channels(clean, frames, views.channel_dropout, generator)
        strips = [
            ("weak view (teacher): random frames, short-side jitter, crop", self._tiles(weak_TCHW, weak_T)),
            (
                f"strong view (student), 1: its own random frames, jitter, crop{', flip' if views.flip else ''}",
                self._tiles(strong_TCHW, strong_T),
            ),
            (
                f"strong view, 2: then the temporal perturbation, {self._perturbation(self.config.perturb.kind)}",
                self._tiles(_shown(clean[0]), strong_T, source_T),
            ),
            (
                f"strong view, 3: then channel dropout, {views.channel_dropout:g} a colour channel and granularity",
                self._tiles(_shown(dropped[0]), strong_T, source_T),
            ),
        ]
        notes = [f"clip {self._clip_id()}, seed {self.seed}; in the order the model reads, granularities set apart"]
        notes.append(f"{self._badge_note()}; black: another frame than before the perturbation")
        return Section("Weak and strong view of training", notes, [Strip(c, self._groups(t)) for c, t in strips])

    def perturbations(self) -> Section:
        """Every kind of perturbation at the configured strength, on the same frames."""
        view_TCHW, index_T = self._evaluation_view(self._table(self._clip_id()), 0)
        strips = []
        for kind in sorted(KINDS, key=lambda kind: kind != "none"):  # the frames as they are come first
            config = replace(self.config.perturb, kind=kind)
            source_T = frame_index(config, 1, self._frames, torch.Generator().manual_seed(self.seed))[0]
            generator = torch.Generator().manual_seed(self.seed)
            shown_TCHW = perturb(view_TCHW[None], self._frames, config, generator)[0]
            strips.append(Strip(f"{kind}: {SAID[kind]}", self._groups(self._tiles(shown_TCHW, index_T, source_T))))
        strength = f"strength {self.config.perturb.strength:g}"
        notes = [f"clip {self._clip_id()}, evaluation view, {strength}, seed {self.seed}; in the order the model reads"]
        notes.append(f"{self._badge_note()}; black: another frame than without perturbation")
        return Section("Temporal perturbations of the strong view", notes, strips)

    def mixing(self) -> Section:
        """Tube token mixing of the clip and a partner, tokens shown as the patches they come from."""
        own_id, other_id = self._clip_id(), self._partner_id()
        own_TCHW, own_T = self._evaluation_view(self._table(own_id), 0)
        other_TCHW, other_T = self._evaluation_view(self._table(other_id), 0)
        patch, size = ARCHITECTURES[self.config.model.name].patch, self.config.views.size
        if size % patch:
            raise ConfigError(f"views.size: expected a multiple of the patch size {patch}, got {size}")
        grid = size // patch
        generator = torch.Generator().manual_seed(self.seed)
        mix = draw_mix(self.config.mixing, 2, len(self._frames), grid**2, generator)
        # of two clips, either one's partner is the other
        mix = replace(mix, partner_GB=torch.tensor([[1, 0]]).expand(len(self._frames), -1))
        patches_BTND = _patches(torch.stack([own_TCHW, other_TCHW]), patch)
        parts = patches_BTND.split(self._frames, 1)
        mixed_BTND = torch.cat([mix_tokens(part, part, mix, g) for g, part in enumerate(parts)], 1)
        masks = [mix.tube_mask_GN[g].view(grid, grid) for g, t in enumerate(self._frames) for _ in range(t)]
        tiles = self._tiles(_pictures(mixed_BTND, patch)[0], own_T)
        outlined = [replace(tile, mask_RQ=mask) for tile, mask in zip(tiles, masks, strict=True)]
        kept = int(mix.tube_mask_GN[0].sum())
        strips = [
            Strip(f"the clip: {own_id}", self._groups(self._tiles(own_TCHW, own_T))),
            Strip(f"its partner: {other_id}", self._groups(self._tiles(other_TCHW, other_T))),
            Strip(
                f"mixed: {kept} of {grid**2} patches are the clip's own; a granularity's frames share a mask",
                self._groups(outlined),
            ),
        ]
        notes = [
            f"evaluation views, ratio r = {mix.ratio:.2f}, seed {self.seed}; white lines: where own and partner's meet",
            "target: r x the clip's pseudo-label probabilities + (1 - r) x its partner's",
        ]
        return Section("Tube token mixing", notes, strips)

    @property
    def _frames(self) -> tuple[int, ...]:
        return self.config.sampling.frames_per_granularity

    def _colours(self) -> list[str]:
        """One a frame, in the order of the view."""
        count = len(self._frames)
        return [c for g, t in enumerate(self._frames) for c in [granularity_colour(g, count)] * t]

    def _legend(self) -> list[tuple[str, str]]:
        fine = len(self._frames) - 1
        named = [(granularity_colour(g, fine + 1), f"fine element {g + 1}") for g in range(fine)]
        return [*named, (granularity_colour(fine, fine + 1), "temporal context")]

    def _badge_note(self) -> str:
        total = sum(self._frames)
        if self.config.sampling.mode == "slots":
            return f"number: which of the clip's {total} equal slots the frame is from, 0 the first"
        return "number: the frame's place in the clip, 0 the first"

    def _perturbation(self, kind: str) -> str:
        return f"{kind} at strength {self.config.perturb.strength:g}"

    def _tiles(self, view_TCHW: Tensor, index_T: np.ndarray, source_T: Tensor | None = None) -> list[Tile]:
        """Tiles in the order of the view; `source_T`: whose frame stands at each position, by default its own."""
        slots = [slot for dealt in deal_slots(self._frames) for slot in dealt]
        numbers = slots if self.config.sampling.mode == "slots" else index_T.tolist()
        colours = self._colours()
        sources = range(len(colours)) if source_T is None else source_T.tolist()
        return [
            Tile(view_TCHW[t], colours[t], str(numbers[s]), colours[s], moved=s != t) for t, s in enumerate(sources)
        ]

    def _groups(self, tiles: list[Tile]) -> list[list[Tile]]:
        ends = np.cumsum(self._frames).tolist()
        return [tiles[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]

    def _reader(self, table: pd.DataFrame) -> ClipReader:
        store = open_store(self.config.loader, self.config.views, self.config.scope.root)
        return ClipReader(table, store, self.config.sampling)

    def _evaluation_view(self, table: pd.DataFrame, row: int) -> tuple[Tensor, np.ndarray]:
        """The deterministic view (T, C, H, W) of a row, and the frames that it shows."""
        reader = self._reader(table)
        crops = [evaluation_crop(self.config.views, 0.5)] * len(self._frames)
        view_TCHW = reader.view(row, crops, self.config.views.size)
        return view_TCHW, sample_frames(_length(reader, row), self.config.sampling)

    def _drawn_view(self, table: pd.DataFrame, rng: np.random.Generator, *, flip: bool) -> tuple[Tensor, np.ndarray]:
        """A view as training draws it, and the frames that it shows."""
        reader = self._reader(table)
        crops = draw_crops(self.config.views, len(self._frames), rng, flip=flip)
        index_T = sample_frames(_length(reader, 0), self.config.sampling, copy.deepcopy(rng))
        return reader.view(0, crops, self.config.views.size, rng), index_T

    def _all_clips(self) -> pd.DataFrame:
        parts = [self.scope.labelled, self.scope.unlabelled, self.scope.dev, self.scope.test]
        return pd.concat(parts).drop_duplicates("clip_id")

    def _table(self, clip_id: str) -> pd.DataFrame:
        clips = self._all_clips()
        found = clips[clips.clip_id.astype(str) == clip_id]
        if found.empty:
            near = nearest(clip_id, clips.clip_id.astype(str)).split(" — valid:")[0]  # thousands would follow
            raise ScopeError(f"scope '{self.scope.name}' has no clip '{clip_id}'{near}")
        return found

    def _clip_id(self) -> str:
        return self.clip or str(self.scope.labelled.clip_id.iloc[0])

    def _partner_id(self) -> str:
        if self.partner:
            return self.partner
        clips = self._all_clips()
        own = self._table(self._clip_id()).label.iloc[0]
        others = clips[clips.label != own]
        others = others if len(others) else clips
        return str(others.clip_id.iloc[int(_rng(self.seed).integers(len(others)))])


SECTIONS: dict[str, Callable[[Gallery], Section]] = {
    "classes": Gallery.classes,
    "views": Gallery.views,
    "perturbations": Gallery.perturbations,
    "mixing": Gallery.mixing,
}


def sections(what: Sequence[str]) -> list[str]:
    """The sections asked for, each once, in the order asked for; ``all`` stands for every one.

    Raises:
        ConfigError: none, or one that there is not.
    """
    valid = [*SECTIONS, "all"]
    if not what:
        raise ConfigError(f"--what: expected at least one of {', '.join(valid)}")
    for name in what:
        if name not in valid:
            raise ConfigError(f"--what: '{name}' is unknown{nearest(name, valid)}")
    return list(SECTIONS) if "all" in what else list(dict.fromkeys(what))


def _rng(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


def _length(reader: ClipReader, row: int) -> int:
    """Frames of the clip."""
    clip = reader.table.iloc[row]
    return len(reader.store.frames(clip.path, int(clip.start_frame), int(clip.end_frame)))


def _shown(frames_TCHW: Tensor) -> Tensor:
    """Normalised frames as uint8 pictures; a channel at the mean, as dropout leaves it, is a middle grey."""
    return ((frames_TCHW * STD + MEAN) * 255).round().clamp(0, 255).to(torch.uint8)


def _patches(frames_BTCHW: Tensor, patch: int) -> Tensor:
    """Frames cut into patches, (B, T, N, D)."""
    cut = frames_BTCHW.unfold(3, patch, patch).unfold(4, patch, patch)  # B T C rows columns patch patch
    return cut.permute(0, 1, 3, 4, 2, 5, 6).flatten(4).flatten(2, 3)


def _pictures(patches_BTND: Tensor, patch: int) -> Tensor:
    """The inverse of `_patches`."""
    grid = round(patches_BTND.shape[2] ** 0.5)
    cut = patches_BTND.unflatten(2, (grid, grid)).unflatten(4, (3, patch, patch))
    return cut.permute(0, 1, 4, 2, 5, 3, 6).flatten(5, 6).flatten(3, 4)
