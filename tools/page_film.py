"""A GIF of a page in a browser, for the docs."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image, ImageChops
from playwright.sync_api import Locator, Page

LONGEST = 700
"""Milliseconds that a picture of the film is shown if nothing changes."""


class Film:
    """Pictures of a page, one after the other."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.frames: list[Image.Image] = []
        self.times: list[int] = []

    def shoot(self, ticks: int) -> None:
        """Add the page as it is, for a number of tenths of a second."""
        frame = Image.open(io.BytesIO(self.page.screenshot(caret="initial"))).convert("RGB")
        if self.frames and ImageChops.difference(frame, self.frames[-1]).getbbox() is None:
            self.times[-1] = min(self.times[-1] + 100 * ticks, LONGEST)
        else:
            self.frames.append(frame)
            self.times.append(100 * ticks)

    def until(self, end: Locator, hold: int) -> None:
        """Film until something is there, then show the last picture for some tenths of a second.

        A slow machine makes no slow film: what does not change is cut to ``LONGEST``.
        """
        while not end.count():
            self.shoot(1)
            self.page.wait_for_timeout(60)
        self.page.wait_for_timeout(300)
        self.shoot(hold)
        self.times[-1] = 100 * hold

    def write(self, path: Path) -> None:
        """Write a GIF with one palette for all pictures."""
        wall = Image.new("RGB", (self.frames[0].width, self.frames[0].height * 3))
        for number, frame in enumerate(
            (self.frames[0], self.frames[len(self.frames) // 2], self.frames[-1])
        ):
            wall.paste(frame, (0, number * frame.height))
        palette = wall.quantize(64, dither=Image.Dither.NONE)
        small = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in self.frames]
        small[0].save(
            path, save_all=True, append_images=small[1:], duration=self.times, loop=0, optimize=True
        )
