"""The section `spacing` of the campaign file."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from superionic.settings.base import StageSection


class SpacingSettings(StageSection):
    """Shortest distance between mobile ions in the lowest orderings."""

    count: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=1, description="Orderings of lowest energy of each composition that are measured."
    )
