import pytest

from engine.cli.checks import check_sources
from engine.config import load_config


def config(*overrides):
    return load_config(overrides=overrides, environment={})


NEWS = "sources=[{name: news, kind: newsapi, query: bitcoin}]"


def test_sources_that_have_all_they_need_are_counted(monkeypatch):
    monkeypatch.setenv("NEWSAPI_KEY", "a-key")
    check = check_sources(config(NEWS, "mood=[{kind: vix}, {kind: put_call}]"))
    assert (check.ok, check.found) == (True, "1 of texts, 2 of mood")


@pytest.mark.parametrize(("address", "needed"), [("null", True), ("10.0.0.1:6379", False)])
def test_sources_key_that_is_missing_stops_the_start_of_a_local_cluster(
    monkeypatch, address, needed
):
    monkeypatch.delenv("NEWSAPI_KEY", raising=False)
    check = check_sources(config(NEWS, f"ray.address={address}"))
    assert (check.ok, check.needed) == (False, needed)
    assert check.found == (
        "source news: the environment variable NEWSAPI_KEY is not set; it holds a key of "
        "https://newsapi.org/account"
    )
    assert check.mend.startswith("set it in this environment")


def test_sources_of_a_simulator_that_does_not_run_are_refused():
    simulated = "sources=[{name: simulated, kind: simulated}]"
    assert not check_sources(config(simulated)).ok
    assert check_sources(config(simulated, "simulator.enabled=true")).ok


def test_sources_of_mood_alone_are_told_not_to_be_read():
    check = check_sources(config("mood=[{kind: vix}]"))
    assert (check.ok, check.needed) == (False, False)
    assert check.found.startswith("mood is read by the part that reads texts")
