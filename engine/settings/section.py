"""What every section of the configuration is."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class OnThisMachine:
    """Marks a key whose text is a path: whoever runs elsewhere needs it written out."""


Share = Annotated[float, Field(ge=0.0, le=1.0)]
Port = Annotated[int, Field(ge=0, le=65_535)]
FilePath = Annotated[str, OnThisMachine()]
"""A file, a folder or a pattern of them, relative to where the command runs; may be a URL."""


class Section(BaseModel):
    """A part of the tree: frozen, and closed to unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class JobSection(Section):
    """What a job is told; its file is named as the job is."""

    def require(self) -> None:
        """Refuse what cannot work, before the job is submitted.

        Raises
        ------
        ConfigError
            Where a value is missing that has no default, or two do not fit together. It names the
            key as it is written on the command line, without the job's name.
        """
