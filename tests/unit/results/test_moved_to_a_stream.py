"""An experiment that moves from its copy to a stream after the start: an amendment, and the same decision."""

from __future__ import annotations

from pathlib import Path

import yaml
from tests.unit.results.test_sealing_stages import Story


def test_the_memo_tells_the_move_as_an_amendment_without_effect(tmp_path: Path) -> None:
    story = Story(tmp_path)
    story.run(14, "copy")
    source = {"format": "parquet", "location": "data/shop"}
    content = {"name": "shop_events", "kind": "outcomes", "owner": "shop", "source": source}
    folder = story.project.root / "configs" / "streams"
    folder.mkdir()
    (folder / "shop_events.yaml").write_text(yaml.safe_dump(content | {"delivers": ["revenue", "speed"]}))
    story.run(14, "moved", streams={"outcomes": ("shop_events",)})
    first, moved = story.seals()
    assert first["changes"] == [] and moved["changes"] == ["streams.outcomes: not set → shop_events"]
    assert moved["effect_on_verdict"] == (
        "none as of 2026-01-14: both plans give keep running; both stand on the events that the present plan reads"
    )
    for text in (story.memo(14, "html"), story.memo(14, "md").replace("\\", "")):
        assert "streams.outcomes: not set → shop_events" in text
    facts = {row["label"]: (row["sealed"], row["now"]) for row in story.memo(14)["sealed_plan"]["facts"]}
    assert facts["Streams"] == ("none", "outcomes shop_events")
    story.run(14, "again", streams={"outcomes": ("shop_events",)})
    assert len(story.seals()) == 2, "the same plan is no further amendment"
